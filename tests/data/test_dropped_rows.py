"""Rows that cannot be used are dropped and counted by reason; the same rows mended are all kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qwenkit.artifacts import read_manifest
from qwenkit.data.cleaning import REASONS
from qwenkit.data.holdout import PREFIX
from tests.data.good_inputs import ROWS, Rows, to_csv, to_jsonl
from tests.data.test_broken_inputs import run_prepare

MENDED: Rows = [
    {"text": f"a new text with words of its own {i} {i * i} {i**3}", "label": "AI_Generated"}
    for i in range(70, 76)
]


@dataclass(frozen=True)
class BadRows:
    """Columns that make MENDED bad, row by row, and what becomes of it.

    Attributes:
        changes: To so many of the mended rows; the others are not used.
        dropped: How many rows go, by reason.
        split: A second file for them, where the reason lies in another split.
    """

    changes: list[dict[str, Any]]
    dropped: dict[str, int]
    split: str | None = None
    settings: tuple[str, ...] = ()


LIKE_ROW_1 = {"text": ROWS[1]["text"].upper(), "label": ROWS[1]["label"]}

BAD_ROWS = {
    "no text": BadRows([{"text": None}, {"label": None}], {"null": 2}),
    "nothing to see": BadRows(
        [{"text": text} for text in (" ", "\t\n", "\u200b\u200d", "\x01", "\u2800")], {"empty": 5}
    ),
    "labels that are no class": BadRows(
        [{"label": label} for label in ("ai_generated", " AI_Generated", "0", "x" * 5000)],
        {"unknown_label": 4},
    ),
    "labels that the mapping drops": BadRows(
        [{"label": "unsure"}, {"label": "bot"}],
        {"unknown_label": 1},
        settings=("model.label_mapping={unsure: null, bot: AI_Generated, me: Human_Written}",),
    ),
    "one text under two labels": BadRows(
        [
            {"text": "of two minds"},
            {"text": "of two minds", "label": "Human_Written"},
            {"text": "of two minds"},
        ],
        {"conflicting_label": 3},
    ),
    "copies": BadRows([ROWS[0], ROWS[0], {"text": "twice"}, {"text": "twice"}], {"duplicate": 3}),
    "copies in another split": BadRows([ROWS[0], ROWS[2], {}], {"duplicate": 2}, split="test"),
    "a leak": BadRows([LIKE_ROW_1, {}], {"leak": 1}, "test", ("dataset.leakage=drop_from_train",)),
    "beside what trains": BadRows(
        [LIKE_ROW_1 | {"writer": "w"}, {"writer": "w"}],
        {"held_out": 1},
        settings=("dataset.holdout={writer: [w]}",),
    ),
    "several reasons at once": BadRows(
        [{"text": None, "label": "x"}, {"text": " ", "label": "x"}, {"text": ROWS[0]["text"], "label": "x"}],
        {"null": 1, "empty": 1, "unknown_label": 1},
    ),
}


def prepare(folder: Path, rows: Rows, bad: BadRows, write: Any) -> dict[str, Any]:
    """Prepare the good rows with these behind them, and give the accounts of the manifest."""
    suffix = {to_csv: "csv", to_jsonl: "jsonl"}[write]
    columns = dict.fromkeys(key for row in [*ROWS, *rows] for key in row)
    good, added = ([{key: row.get(key) for key in columns} for row in part] for part in (ROWS, rows))
    data = folder / "set"
    data.mkdir()
    if bad.split:
        (data / f"train.{suffix}").write_bytes(write(good))
        (data / f"{bad.split}.{suffix}").write_bytes(write(added))
    else:
        (data / f"all.{suffix}").write_bytes(write([*good, *added]))
    code, printed = run_prepare(data, folder / "output", *bad.settings)
    assert code == 0, printed
    manifest = read_manifest(folder / "output/datasets/set/prepared")
    assert manifest is not None
    return dict(manifest.counts)


@pytest.mark.parametrize("write", [to_csv, to_jsonl])
@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_bad_rows_are_dropped_and_accounted_for(bad: BadRows, write: Any, tmp_path: Path) -> None:
    rows = [row | change for row, change in zip(MENDED, bad.changes, strict=False)]
    counts = prepare(tmp_path, rows, bad, write)
    accounts = counts["splits"].values()
    for account in accounts:
        assert account["in"] == account["kept"] + sum(account["dropped"].values())
    assert sum(account["in"] for account in accounts) == len(ROWS) + len(rows)
    dropped = {reason: sum(account["dropped"][reason] for account in accounts) for reason in REASONS}
    assert dropped == dict.fromkeys(REASONS, 0) | bad.dropped
    assert sum(counts["written"].values()) == sum(account["kept"] for account in accounts)


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_the_same_rows_mended_are_all_kept(bad: BadRows, tmp_path: Path) -> None:
    keep = {key for change in bad.changes for key in change if key == "writer"}
    rows = [
        row | {key: change[key] for key in keep} for row, change in zip(MENDED, bad.changes, strict=False)
    ]
    counts = prepare(tmp_path, rows, bad, to_jsonl)
    assert sum(account["kept"] for account in counts["splits"].values()) == len(ROWS) + len(rows)
    held = [count for split, count in counts["written"].items() if split.startswith(PREFIX)]
    assert sum(held) == (len(rows) if keep else 0)

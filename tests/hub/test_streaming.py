"""A hub set that is streamed: as many rows as wanted, from many places, and little else is fetched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from qwenkit.data.hub_splits import STREAMED_AHEAD_BYTES
from tests.hub.conftest import make_client
from tests.hub.hub_server import Fault, LocalHub, serve_hub

LARGE, UNEVEN, LINES = "somebody/large", "somebody/uneven", "somebody/lines"
FILES, GROUPS, GROUP_ROWS = 3, 20, 1000


def write_sorted_files(folder: Path) -> None:
    """Write three files of 24 MB, sorted by label, as row groups of 1,000 random texts, and a test split."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = GROUPS * GROUP_ROWS
    labels = ["AI_Generated"] * (rows // 2) + ["Human_Written"] * (rows // 2)
    for number in range(FILES):
        texts = [rng.bytes(600).hex() for _ in range(rows)]
        frame = pl.DataFrame({"text": texts, "label": labels, "place": range(rows)})
        name = f"train-{number:05}-of-{FILES:05}.parquet"
        # Random hexadecimal digits shrink by half whatever compresses them.
        frame.write_parquet(folder / name, row_group_size=GROUP_ROWS, compression="uncompressed")
    frame.head(50).write_parquet(folder / "test-00000-of-00001.parquet")


def write_uneven_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, rows in enumerate((3000, 10)):
        texts = [f"text {number} {row}" for row in range(rows)]
        frame = pl.DataFrame({"text": texts, "label": ["AI_Generated", "Human_Written"] * (rows // 2)})
        frame.write_parquet(folder / f"train-{number:05}-of-00002.parquet")


def write_lines(folder: Path) -> None:
    folder.mkdir(parents=True)
    texts = [f"line {row} " + "x" * 2000 for row in range(30_000)]
    pl.DataFrame({"text": texts, "label": ["A", "B"] * 15_000}).write_ndjson(folder / "train.jsonl")


class Session:
    """What one process streamed, and how many bytes of each set's files it was sent."""

    def __init__(self, folder: Path, hub: LocalHub) -> None:
        self.folder = folder
        checks: dict[str, dict[str, Any]] = {
            "large": {"repo_id": LARGE, "max_rows": 2000},
            "again": {"repo_id": LARGE, "max_rows": 2000},
            "other seed": {"repo_id": LARGE, "max_rows": 2000, "shuffle_seed": 1},
            "uneven": {"repo_id": UNEVEN, "max_rows": 2500},
            "all": {"repo_id": UNEVEN, "max_rows": 10_000},
            "lines": {"repo_id": LINES, "max_rows": 100},
        }
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, int] = {}
        client = make_client(hub, folder / "hf")
        ran = client(*({"do": "stream", **check} for check in checks.values()))
        self.outcomes = dict(zip(checks, ran, strict=True))
        self.sent_bytes = dict(hub.sent_bytes)
        hub.faults.append(Fault("gated", LARGE, ".parquet"))
        (self.refused,) = client({"do": "stream", **checks["large"]})

    def rows(self, name: str, split: str = "train") -> pl.DataFrame:
        outcome = self.outcomes[name]
        assert "value" in outcome, outcome
        return pl.DataFrame(outcome["value"][split])

    def sent_of(self, repo_id: str) -> int:
        return sum(
            count for path, count in self.sent_bytes.items() if repo_id in path and "/api/" not in path
        )

    def size_of(self, repo_id: str) -> int:
        files = (self.folder / "datasets" / repo_id).rglob("*.*")
        return sum(path.stat().st_size for path in files)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("streamed")
    write_sorted_files(folder / "datasets" / LARGE / "data")
    write_uneven_files(folder / "datasets" / UNEVEN / "data")
    write_lines(folder / "datasets" / LINES)
    with serve_hub(folder) as hub:
        yield Session(folder, hub)


def test_rows_come_from_many_places_of_sorted_files(session: Session) -> None:
    train = session.rows("large")
    # 8/9 of 2,000, since there is no validation split.
    assert 1778 <= train.height < 1778 + GROUP_ROWS
    assert (train["place"] // GROUP_ROWS).n_unique() >= 8
    assert set(train["label"]) == {"AI_Generated", "Human_Written"}
    assert session.rows("large", "test").height == 50


def test_same_seed_streams_the_same_rows(session: Session) -> None:
    assert session.rows("again").equals(session.rows("large"))
    assert not session.rows("other seed").equals(session.rows("large"))


def test_place_with_more_makes_up_for_one_with_less_and_no_row_comes_twice(session: Session) -> None:
    rows = session.rows("uneven")
    assert rows.height >= 2500
    assert rows["text"].n_unique() == rows.height
    everything = session.rows("all")
    assert everything.height == everything["text"].n_unique() == 3010


def test_files_are_not_fetched_whole(session: Session) -> None:
    row_group = session.size_of(LARGE) / (FILES * GROUPS)
    # 16 row groups for each of three reads, what is read ahead of each, and footers.
    footer, test_split = 2**16, 2**18
    expected = 3 * (16 * (row_group + STREAMED_AHEAD_BYTES + 2 * footer) + 6 * footer + test_split)
    assert session.sent_of(LARGE) < expected < 2 * session.size_of(LARGE)
    # Row groups hold what was taken of them, so no less than that was fetched.
    assert session.sent_of(LARGE) > 3 * 16 * row_group * 0.9


def test_of_files_without_row_groups_the_first_rows_are_read(session: Session) -> None:
    texts = session.rows("lines")["text"]
    assert [int(text.split()[1]) for text in texts] == list(range(len(texts)))
    # The library reads 10 MB at a time, and looks into the file before it does.
    assert session.sent_of(LINES) < 32 * 2**20 < session.size_of(LINES)


def test_hub_that_refuses_in_the_middle_is_a_hub_error(session: Session) -> None:
    assert session.refused["kind"] == "HubError", session.refused

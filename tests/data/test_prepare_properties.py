"""Whatever the rows: all are accounted for, no text is in two splits, and doing it again changes nothing."""

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from qwenkit.config.schema_model import Dataset, Model
from qwenkit.data.cleaning import REASONS
from qwenkit.data.frames import UNSPLIT, to_raw
from qwenkit.data.prepare import prepare_splits
from qwenkit.data.prepared import PreparedData
from qwenkit.stages import SPLITS

LABELS = ("AI_Generated", "Human_Written")

# Few texts, so that copies and conflicts are common.
texts = st.sampled_from(["", " ", "\u200b", "x", "x ", "X", "é", "e\u0301", "a\nb", *"abcdefgh"]) | st.none()
labels = st.sampled_from([*LABELS, *LABELS, "Alien", "", None])
row = st.fixed_dictionaries({"text": texts, "label": labels, "domain": st.sampled_from(["n", "w", None])})
row_lists = st.lists(row, min_size=1, max_size=40)
# Rows that make every split and class possible, whatever else there is.
SOLID = [{"text": f"solid {i}", "label": LABELS[i % 2], "domain": "nw"[i // 20]} for i in range(40)]
SCHEMA = {"text": pl.String, "label": pl.String, "domain": pl.String}


def prepare(data: Any, *, deduplicate: bool = True) -> PreparedData:
    return prepare_splits(to_raw(data), model=Model(), dataset=Dataset(deduplicate=deduplicate, audit=False))


def make_frame(rows: list[dict[str, Any]], extra: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([*rows, *extra], schema=SCHEMA)


sources = st.one_of(
    st.fixed_dictionaries({UNSPLIT: row_lists.map(lambda rows: make_frame(rows, SOLID))}),
    st.fixed_dictionaries(
        {"train": row_lists.map(lambda rows: make_frame(rows, SOLID))},
        optional={
            "validation": row_lists.map(lambda rows: make_frame(rows, [SOLID[0] | {"text": "only v"}])),
            "test": row_lists.map(lambda rows: make_frame(rows, [SOLID[0] | {"text": "only t"}])),
        },
    ),
)


def expect_reasons(data: dict[str, pl.DataFrame]) -> dict[str, dict[str, int]]:
    """Count by hand, row by row, what the stage must drop when it deduplicates."""
    known: dict[str, set[str]] = {}
    for frame in data.values():
        for text, label, _ in frame.rows():
            if text is not None and text.strip() and text != "\u200b" and label in LABELS:
                known.setdefault(text, set()).add(label)
    counts = {split: dict.fromkeys(REASONS, 0) for split in data}
    seen: set[str] = set()
    for split in ("test", "validation", "train", UNSPLIT):
        for text, label, _ in data[split].rows() if split in data else ():
            if text is None or label is None:
                counts[split]["null"] += 1
            elif not text.strip() or text == "\u200b":
                counts[split]["empty"] += 1
            elif label not in LABELS:
                counts[split]["unknown_label"] += 1
            elif len(known[text]) > 1:
                counts[split]["conflicting_label"] += 1
            elif text in seen:
                counts[split]["duplicate"] += 1
            else:
                seen.add(text)
    return counts


@settings(max_examples=60, deadline=None)
@given(data=sources, deduplicate=st.booleans())
def test_every_row_is_accounted_for_and_no_text_is_in_two_splits(
    data: dict[str, pl.DataFrame], deduplicate: bool
) -> None:
    prepared = prepare(data, deduplicate=deduplicate)
    assert set(prepared.accounts) == set(data)
    for split, account in prepared.accounts.items():
        assert account.rows_in == data[split].height
        assert account.rows_in == account.kept + sum(account.dropped.values())
        if split in SPLITS[1:]:
            assert account.kept == prepared.splits[split].height
    assert sum(account.kept for account in prepared.accounts.values()) == sum(prepared.written.values())
    texts = [set(frame["text"]) for frame in prepared.splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts))
    if deduplicate:
        assert {split: account.dropped for split, account in prepared.accounts.items()} == expect_reasons(
            data
        )
        assert sum(map(len, texts)) == sum(prepared.written.values())


@settings(max_examples=30, deadline=None)
@given(data=sources)
def test_rows_come_out_as_they_went_in(data: dict[str, pl.DataFrame]) -> None:
    rows = pl.concat([data[split] for split in (*SPLITS, UNSPLIT) if split in data])
    prepared = prepare(data)
    for frame in prepared.splits.values():
        assert frame.select("text", "label", "domain").equals(rows[frame["row_id"].to_list()])
        assert frame["row_id"].is_sorted()
        assert frame["label_id"].to_list() == [LABELS.index(label) for label in frame["label"]]


@settings(max_examples=30, deadline=None)
@given(data=sources)
def test_preparing_what_is_prepared_changes_nothing(data: dict[str, pl.DataFrame]) -> None:
    once = prepare(data)
    again = prepare(once.splits)
    for split, frame in once.splits.items():
        columns = ["text", "label", "label_id", "domain"]
        assert again.splits[split].select(columns).equals(frame.select(columns))
    assert all(account.kept == account.rows_in for account in again.accounts.values())


@settings(max_examples=30, deadline=None)
@given(rows=row_lists, seed=st.integers(0, 1000))
def test_shuffling_the_rows_moves_no_text_to_another_split(rows: list[dict[str, Any]], seed: int) -> None:
    frame = make_frame(rows, SOLID)
    before = prepare(frame).splits
    after = prepare(frame.sample(fraction=1, shuffle=True, seed=seed)).splits
    for split in SPLITS:
        assert set(after[split]["text"]) == set(before[split]["text"])

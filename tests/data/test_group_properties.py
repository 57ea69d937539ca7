"""Whatever the rows, copies and sources: groups hold together, and only content decides where they go."""

from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwenkit.config.schema_model import Dataset, Model
from qwenkit.data.frames import UNSPLIT, to_raw
from qwenkit.data.prepare import prepare_splits
from qwenkit.data.prepared import PreparedData
from qwenkit.stages import SPLITS
from tests.data.documents import ATTACKS, attack_all, make_documents, replace_words

LABELS = ("AI_Generated", "Human_Written")
DOCUMENTS = make_documents(12, n_words=30)
# Copies of every kind, some of them just alike enough and some not: chains of them link what is not alike.
VARIANTS = [
    *DOCUMENTS,
    *(text for attack in ATTACKS.values() for text in attack_all(DOCUMENTS[:6], attack)),
    *attack_all(DOCUMENTS[:6], lambda text, dice: replace_words(text, dice, share=0.35)),
    *(f"{one} {other}" for one, other in zip(DOCUMENTS[:6], DOCUMENTS[6:], strict=True)),
    *("short", "SHORT", "short ", "", "!!!"),
]
SCHEMA = dict.fromkeys(("text", "label", "domain", "model", "source_id", "adv_source_id"), pl.String)
ids = st.sampled_from([None, "", "s1", "s2", "s3"])
row = st.fixed_dictionaries(
    {
        "text": st.sampled_from(VARIANTS) | st.none(),
        "label": st.sampled_from([*LABELS, *LABELS, "Alien", None]),
        "domain": st.sampled_from(["n", "w", None]),
        "model": st.sampled_from(["human", "gpt4", "llama", None]),
        "source_id": ids,
        "adv_source_id": ids,
    }
)
row_lists = st.lists(row, min_size=1, max_size=40)
# Rows that make every split, class and held-out value possible, whatever else there is.
SOLID = [
    {
        "text": f"solid {i}",
        "label": LABELS[i % 2],
        "domain": "nw"[i // 20 % 2],
        "model": ["llama", "gpt4"][i % 5 == 0],
    }
    for i in range(60)
]
policies = st.sampled_from(["report", "drop_from_train", "drop_from_eval", "resplit"])
holdouts = st.sampled_from([{}, {"model": ["gpt4"]}, {"domain": ["w"], "model": ["gpt4"]}])
in_one_piece = st.fixed_dictionaries({UNSPLIT: row_lists})
given_splits = st.fixed_dictionaries(dict.fromkeys(SPLITS, row_lists))


def make_frames(data: dict[str, list[dict[str, Any]]]) -> dict[str, pl.DataFrame]:
    return {
        split: pl.DataFrame(
            [*rows, *({**each, "text": f"{each['text']} {split}"} for each in SOLID)], schema=SCHEMA
        )
        for split, rows in data.items()
    }


def prepare(frames: dict[str, pl.DataFrame], *, leakage: str, holdout: dict[str, list[str]]) -> PreparedData:
    dataset = Dataset(leakage=leakage, holdout=holdout, split_ratios=[0.6, 0.2, 0.2], audit=False)
    return prepare_splits(to_raw(frames), model=Model(), dataset=dataset)


def split_texts(prepared: PreparedData) -> dict[str, set[str]]:
    return {split: set(frame["text"]) for split, frame in prepared.splits.items()}


def partition(prepared: PreparedData) -> set[frozenset[str]]:
    rows = pl.concat([frame.select("text", "group") for frame in prepared.splits.values()])
    return {frozenset(texts) for texts in rows.group_by("group").agg("text")["text"].to_list()}


quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(data=in_one_piece | given_splits, leakage=policies, holdout=holdouts)
def test_every_row_is_kept_or_dropped_for_one_reason(data, leakage, holdout) -> None:
    frames = make_frames(data)
    prepared = prepare(frames, leakage=leakage, holdout=holdout)
    for split, account in prepared.accounts.items():
        assert account.rows_in == frames[split].height
        assert account.rows_in == account.kept + sum(account.dropped.values())
    row_ids = pl.concat([frame["row_id"] for frame in prepared.splits.values()])
    assert row_ids.is_unique().all()
    assert len(row_ids) == sum(account.kept for account in prepared.accounts.values())


@quick
@given(data=in_one_piece | given_splits, leakage=policies, holdout=holdouts)
def test_no_group_is_on_both_sides_of_what_is_cut_or_cleaned(data, leakage, holdout) -> None:
    prepared = prepare(make_frames(data), leakage=leakage, holdout=holdout)
    groups = {split: set(frame["group"]) for split, frame in prepared.splits.items()}
    held = {name: found for name, found in groups.items() if name not in SPLITS}
    assert all(found.isdisjoint(groups["train"] | groups["validation"]) for found in held.values())
    for split, frame in prepared.splits.items():
        leaks = (
            frame["group"].is_in(groups["train"]) if split != "train" else pl.Series([False] * frame.height)
        )
        assert frame["leaks_from_train"].to_list() == leaks.to_list()
    if leakage != "report" or UNSPLIT in data:
        assert sum(len(groups[split]) for split in SPLITS) == len(
            set().union(*(groups[split] for split in SPLITS))
        )


@quick
@given(data=in_one_piece | given_splits, leakage=policies, holdout=holdouts, seed=st.integers(0, 100))
def test_order_of_rows_decides_neither_groups_nor_splits(data, leakage, holdout, seed) -> None:
    frames = make_frames(data)
    once = prepare(frames, leakage=leakage, holdout=holdout)
    shuffled = {split: frame.sample(fraction=1, shuffle=True, seed=seed) for split, frame in frames.items()}
    again = prepare(shuffled, leakage=leakage, holdout=holdout)
    assert split_texts(again) == split_texts(once)
    assert partition(again) == partition(once)


@quick
@given(data=in_one_piece | given_splits, leakage=policies)
def test_preparing_what_is_prepared_changes_nothing(data, leakage) -> None:
    frames = make_frames(data)
    if leakage == "resplit":
        # The ids and the domain of a dropped copy are gone for good: with them it was cut another way.
        frames = {split: frame.select("text", "label") for split, frame in frames.items()}
    once = prepare(frames, leakage=leakage, holdout={})
    again = prepare(dict(once.splits), leakage=leakage, holdout={})
    assert split_texts(again) == split_texts(once)
    assert all(account.kept == account.rows_in for account in again.accounts.values())
    # A dropped row may have been the link between two others.
    assert all(any(found <= before for before in partition(once)) for found in partition(again))
    if leakage == "resplit":
        assert partition(again) == partition(once)

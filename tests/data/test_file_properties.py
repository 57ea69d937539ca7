"""The same rows give the same splits, whatever files they lie in; and what prepare wrote, it keeps."""

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwenkit.config.schema_model import Dataset, Model
from qwenkit.data.prepare import prepare_splits
from qwenkit.data.prepared import PreparedData, write_prepared
from qwenkit.data.readers import read_file
from qwenkit.data.sources import resolve_source
from qwenkit.errors import DataError
from qwenkit.stages import SPLITS
from tests.data.good_inputs import Rows, to_csv, to_json, to_jsonl, to_parquet, zstd
from tests.data.test_group_properties import SOLID, VARIANTS

LABELS = ("AI_Generated", "Human_Written")
# What each kind of file has its own way to write: quotes, separators, line ends, controls, half-width marks.
TRICKY = [
    'say "so"',
    "a,b\tc;d",
    "two\nlines",
    "two\r\nlines",
    '{"a": 1}',
    "[1]",
    "'",
    "\ufeffmark",
    "é𝄞",
    "=1+1",
]
row = st.fixed_dictionaries(
    {
        "text": st.sampled_from([*(text for text in VARIANTS if text), *TRICKY]) | st.none(),
        "label": st.sampled_from([*LABELS, *LABELS, "Alien"]) | st.none(),
        "domain": st.sampled_from(["n", "w"]) | st.none(),
    }
)
row_lists = st.lists(row, max_size=30)
solid = [{key: each[key] for key in ("text", "label", "domain")} for each in SOLID]
quick = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

KINDS: dict[str, Callable[[Rows], bytes]] = {
    "csv": to_csv,
    "tsv": lambda rows: to_csv(rows, separator="\t"),
    "jsonl": to_jsonl,
    "json": to_json,
    "parquet": lambda rows: to_parquet(rows),
    "csv.gz": lambda rows: gzip.compress(to_csv(rows)),
    "jsonl.zst": lambda rows: zstd(to_jsonl(rows)),
}


def prepare(path: Path, **more: Any) -> PreparedData:
    dataset = Dataset(audit=False, split_ratios=[0.6, 0.2, 0.2], **more)
    return prepare_splits(resolve_source(str(path)), model=Model(), dataset=dataset)


def split_texts(prepared: PreparedData) -> dict[str, set[str]]:
    return {split: set(frame["text"]) for split, frame in prepared.splits.items()}


@quick
@given(rows=row_lists, kind=st.sampled_from(sorted(KINDS)), cut=st.integers(1, len(solid) - 1))
def test_kind_of_file_and_cut_into_shards_move_no_row(rows: Rows, kind: str, cut: int) -> None:
    everything = [*solid[:cut], *rows, *solid[cut:]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "whole.jsonl").write_bytes(to_jsonl(everything))
        (folder / "shards").mkdir()
        for place, part in enumerate((everything[:cut], everything[cut:])):
            (folder / f"shards/{place}.{kind}").write_bytes(KINDS[kind](part))
        whole, shards = prepare(folder / "whole.jsonl"), prepare(folder / "shards")
    assert shards.accounts == whole.accounts
    for split, frame in whole.splits.items():
        assert (
            shards.splits[split]
            .select("row_id", "text", "label", "domain")
            .equals(frame.select("row_id", "text", "label", "domain"))
        )


@quick
@given(rows=row_lists, deduplicate=st.booleans(), leakage=st.sampled_from(["report", "drop_from_train"]))
def test_what_was_prepared_is_kept_whole_when_it_is_prepared_again(
    rows: Rows, deduplicate: bool, leakage: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows.jsonl").write_bytes(to_jsonl([*rows, *solid]))
        once = prepare(folder / "rows.jsonl", deduplicate=deduplicate, leakage=leakage)
        (folder / "prepared").mkdir()
        write_prepared(folder / "prepared", once)
        again = prepare(folder / "prepared", deduplicate=deduplicate, leakage=leakage)
    assert all(account.kept == account.rows_in for account in again.accounts.values())
    for split in SPLITS:
        columns = ["text", "label", "label_id", "domain"]
        assert again.splits[split].select(columns).equals(once.splits[split].select(columns))


@quick
@given(rows=row_lists, data=st.data())
def test_order_of_rows_and_of_files_moves_no_row_of_a_mapped_label(rows: Rows, data: st.DataObject) -> None:
    """Ids that a mapping names lead to the same splits as the names, in whatever order the rows come."""
    ids = {"AI_Generated": 1, "Human_Written": 0, "Alien": 2, None: None}
    mapping = {"0": "Human_Written", "1": "AI_Generated", "2": None}
    everything = [*rows, *solid]
    shuffled = data.draw(st.permutations(everything))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "names.jsonl").write_bytes(to_jsonl(everything))
        pl.DataFrame([each | {"label": ids[each["label"]]} for each in shuffled]).write_parquet(
            folder / "ids.parquet"
        )
        named = prepare(folder / "names.jsonl")
        source = resolve_source(str(folder / "ids.parquet"))
        dataset = Dataset(audit=False, split_ratios=[0.6, 0.2, 0.2])
        mapped = prepare_splits(source, model=Model(label_mapping=mapping), dataset=dataset)
    assert split_texts(mapped) == split_texts(named)
    assert mapped.accounts == named.accounts


damage = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), wounds=damage)
def test_whatever_is_damaged_is_read_or_refused_by_name(kind: str, wounds: list[Any]) -> None:
    """Bytes are overwritten, put in or cut out anywhere: nothing but rows or a DataError may come of it."""
    content = KINDS[kind](solid)
    for place, way, piece in wounds:
        at = int(place * len(content))
        content = content[:at] + piece * (way < 3) + content[at + [0, len(piece), 1, 40][way] :]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"rows.{kind}"
        path.write_bytes(content)
        try:
            read_file(path)
        except DataError as error:
            assert str(path) in str(error)

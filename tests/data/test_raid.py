"""RAID's own file as a source: balanced, the same rows in any order, and clear about what is no RAID file."""

import gzip
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from qwenkit.config.schema_model import Dataset, Model
from qwenkit.data.prepare import prepare_splits
from qwenkit.data.raid import HUMAN_LABEL, MACHINE_LABEL, read_raid
from qwenkit.data.sources import resolve_raid, resolve_source
from qwenkit.errors import ConfigError, DataError
from tests.data.raid_rows import ATTACKS, DOMAINS, GENERATORS, ROWS_A_SOURCE, write_raid_csv

SOURCES = 16
ROWS = SOURCES * ROWS_A_SOURCE
HUMAN_ROWS = SOURCES * len(ATTACKS)


@pytest.fixture(scope="module")
def raid_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 sources in 8 domains: 192 human rows and 4,224 of machines."""
    return write_raid_csv(tmp_path_factory.mktemp("raid") / "train.csv", ROWS)


def read_sample(path: Path, max_rows: int | None, *, seed: int = 42) -> pl.DataFrame:
    return read_raid(path, max_rows=max_rows, seed=seed).splits["all"]


def count(frame: pl.DataFrame, *columns: str) -> list[int]:
    return frame.group_by(*columns).len()["len"].to_list()


def test_whole_file_is_read_as_it_is_with_labels_of_the_derived_sets(raid_csv: Path) -> None:
    frame = read_sample(raid_csv, None)
    source = pl.read_csv(raid_csv, infer_schema=False)
    assert frame["text"].to_list() == source["generation"].to_list()
    assert '\n"Well," she said,\r\n\n' in frame["text"][0]
    is_human = source["model"] == "human"
    assert frame["label"].to_list() == [HUMAN_LABEL if human else MACHINE_LABEL for human in is_human]
    kept = ["id", "domain", "model", "attack", "decoding", "adv_source_id", "source_id", "repetition_penalty"]
    assert frame.columns == ["text", "label", *kept]
    assert frame.select(kept).equals(source.select(kept))


def test_sample_is_balanced_at_every_level(raid_csv: Path) -> None:
    frame = read_sample(raid_csv, 352)
    assert frame.height == 352
    machine = frame.filter(pl.col("label") == MACHINE_LABEL)
    human = frame.filter(pl.col("label") == HUMAN_LABEL)
    assert (machine.height, human.height) == (176, 176)
    assert count(machine, "domain") == [22] * len(DOMAINS)
    assert count(machine, "domain", "model") == [2] * len(DOMAINS) * len(GENERATORS)
    assert count(human, "domain") == [22] * len(DOMAINS)
    # 22 rows over 12 attacks, of which the file has two each: 10 twice, 2 once.
    assert sorted(count(human, "domain", "attack")) == [1] * 2 * len(DOMAINS) + [2] * 10 * len(DOMAINS)
    assert set(machine["attack"]) == set(ATTACKS)


def test_what_human_texts_cannot_fill_goes_to_machine_texts_and_is_said(raid_csv: Path) -> None:
    raw = read_raid(raid_csv, max_rows=1000, seed=42)
    assert raw.splits["all"].height == 1000
    assert (raw.splits["all"]["label"] == HUMAN_LABEL).sum() == HUMAN_ROWS
    assert raw.left_out == {"all": ROWS - 1000}
    assert raw.notes == (
        "1,000 of 4,416 rows are chosen, 192 of them human: equal shares of domain, generator, attack and "
        "decoding, as far as each goes (seed 42)",
        "the file has no more human texts; class weights make up for it",
    )


def test_same_rows_are_chosen_in_any_order_of_the_file(raid_csv: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled.csv"
    pl.read_csv(raid_csv, infer_schema=False).sample(fraction=1, shuffle=True, seed=7).write_csv(shuffled)
    chosen = read_sample(raid_csv, 300)
    assert set(read_sample(shuffled, 300).rows()) == set(chosen.rows())
    assert set(read_sample(raid_csv, 300, seed=1)["id"]) != set(chosen["id"])


def test_smaller_sample_is_a_part_of_a_larger_one(raid_csv: Path) -> None:
    sizes = [10, 100, 101, 500, 2000, ROWS]
    samples = [set(read_sample(raid_csv, size)["id"]) for size in sizes]
    assert [len(sample) for sample in samples] == sizes
    assert all(small < large for small, large in pairwise(samples))


def test_more_rows_than_there_are_is_all_of_them(raid_csv: Path) -> None:
    raw = read_raid(raid_csv, max_rows=10**9, seed=42)
    assert (raw.splits["all"].height, raw.left_out, raw.notes) == (ROWS, {"all": 0}, ())


def test_sample_does_not_hold_the_blocks_that_it_was_picked_from(raid_csv: Path) -> None:
    texts = read_sample(raid_csv, 20)["text"]
    arrow = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    held = sum(buffer.size for buffer in arrow.buffers() if buffer is not None)
    # The texts, 16 bytes for a view of each, and what buffers are rounded up to.
    assert held < texts.str.len_bytes().sum() + 16 * len(texts) + 4096
    assert held < raid_csv.stat().st_size / 50


def test_gzip_gives_the_same_sample(raid_csv: Path, tmp_path: Path) -> None:
    packed = tmp_path / "train.csv.gz"
    packed.write_bytes(gzip.compress(raid_csv.read_bytes()))
    assert read_sample(packed, 100).equals(read_sample(raid_csv, 100))


def prepare_raid(path: Path, **settings: int):
    dataset = Dataset(name="raid", path=str(path), audit=False, **settings)
    source = resolve_raid(dataset.path, dataset.max_rows)
    return prepare_splits(source, model=Model(), dataset=dataset)


def test_prepared_sample_is_split_by_source_and_every_row_is_accounted_for(raid_csv: Path) -> None:
    prepared = prepare_raid(raid_csv, max_rows=600)
    account = prepared.accounts["all"]
    assert account.rows_in == ROWS
    assert account.dropped["not_sampled"] == ROWS - 600
    assert account.kept + sum(account.dropped.values()) == ROWS
    assert prepared.groups.columns == ("source_id", "adv_source_id", "id")
    splits = [set(frame["source_id"]) for frame in prepared.splits.values()]
    assert all(splits)
    assert sum(map(len, splits)) == len(set().union(*splits)) == SOURCES
    assert prepared.domain_column == "domain"


def test_every_size_has_a_folder_of_its_own(raid_csv: Path) -> None:
    names = {None: "raid", 10_000: "raid-10k", 100_000: "raid-100k", 2_000_000: "raid-2M", 1234: "raid-1234"}
    for size, name in names.items():
        source = resolve_raid(str(raid_csv), size)
        assert (source.folder_name, source.kind, source.origin) == (name, "raid", str(raid_csv))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "id,generation",
            r"test.csv lacks domain, model, attack, decoding, as RAID's test.csv does: take train",
        ),
        (
            "text,label",
            r"test.csv is no RAID file: it lacks id, .*, generation; it has: text, label\. A labelled",
        ),
        ("id,generation,model,attack,domain", r"lacks decoding"),
    ],
)
def test_file_without_what_is_needed_is_told_apart(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "test.csv"
    path.write_text(f"{header}\n{','.join('x' * (header.count(',') + 1))}\n")
    with pytest.raises(DataError, match=message):
        resolve_raid(str(path), None)


def test_missing_file_and_missing_rows_are_clear_errors(tmp_path: Path, raid_csv: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"wants its file: download https://\S+/train.csv .* dataset.path=train"
    ):
        resolve_source("raid")
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        resolve_raid(str(tmp_path / "nowhere.csv"), None)
    empty = tmp_path / "empty.csv"
    empty.write_bytes(raid_csv.read_bytes().partition(b"\n")[0] + b"\n")
    for size in (None, 10):
        with pytest.raises(DataError, match="has a header but no rows"):
            read_raid(empty, max_rows=size, seed=42)


def test_row_without_a_generator_has_no_label_and_is_dropped_as_null(raid_csv: Path, tmp_path: Path) -> None:
    rows = pl.read_csv(raid_csv, infer_schema=False)
    path = tmp_path / "holes.csv"
    holes = rows.head(3).with_columns(model=pl.lit(None, dtype=pl.String), id=pl.lit("new"))
    pl.concat([holes, rows]).write_csv(path)
    account = prepare_raid(path).accounts["all"]
    assert (account.rows_in, account.dropped["null"]) == (ROWS + 3, 3)

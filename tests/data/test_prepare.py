"""The stage as a whole: rows in, splits out and onto disk, with nothing lost on the way."""

from pathlib import Path

import polars as pl
import pytest

from qwenkit.config.schema_model import Dataset, Model
from qwenkit.config.schema_training import ClassWeights
from qwenkit.data.frames import to_frame, to_raw
from qwenkit.data.parquet import read_parquet, write_parquet
from qwenkit.data.prepare import prepare_labelled, prepare_splits
from qwenkit.data.prepared import read_labels, read_prepared, read_split, to_dataset, write_prepared
from qwenkit.data.sources import resolve_source
from qwenkit.errors import ArtifactError, ConfigError, DataError


def test_prepared_rows_are_read_when_they_are_asked_for(prepare, rows: pl.DataFrame, tmp_path: Path) -> None:
    prepared = prepare(rows)
    write_prepared(tmp_path, prepared)
    back = read_prepared(tmp_path)
    (tmp_path / "train.parquet").unlink()
    assert back.written == prepared.written
    assert list(back.splits) == ["train", "validation", "test"]
    assert back.splits["test"].equals(prepared.splits["test"])
    assert back.splits["test"] is back.splits["test"]
    with pytest.raises(ArtifactError, match=r"train\.parquet cannot be read"):
        _ = back.splits["train"]
    with pytest.raises(KeyError):
        _ = back.splits["other"]


def test_an_unknown_rule_of_normalisation_is_refused_with_the_nearest_name(
    prepare, rows: pl.DataFrame
) -> None:
    with pytest.raises(
        ConfigError,
        match=r"dataset\.normalize +colapse_whitespace is unknown; did you mean collapse_whitespace",
    ):
        prepare(rows, normalize=["lower_case", "colapse_whitespace"])
    with pytest.raises(ConfigError, match="there is collapse_whitespace, fold_homoglyphs"):
        prepare(rows, normalize=["xyzzy"])


def test_set_in_one_piece_is_cut_by_domain_and_label(prepare, rows: pl.DataFrame) -> None:
    prepared = prepare(rows)
    assert prepared.written == {"train": 160, "validation": 20, "test": 20}
    assert prepared.domain_column == "domain_name"
    for frame in prepared.splits.values():
        share = frame.height / rows.height
        counts = {(d, label): n for d, label, n in frame.group_by("domain_name", "label").len().rows()}
        assert counts == {
            (domain, label): round(n * share)
            for domain in ("news", "wiki")
            for label, n in (("AI_Generated", 60), ("Human_Written", 40))
        }
    assert prepared.notes == (
        "the data come in one piece: cut into train 0.8, validation 0.1, test 0.1, "
        "stratified by domain and label, seed 42",
    )


def test_columns_are_canonical_first_and_the_rest_as_it_was(prepare, rows: pl.DataFrame) -> None:
    source = rows.rename({"text": "body", "label": "kind"}).with_columns(
        text=pl.lit("a summary"), row_id=pl.lit("r"), source_row_id=pl.lit("s"), label=pl.lit(7)
    )
    test = prepare(source, text_column="body", label_column="kind").splits["test"]
    assert test.columns == [
        *("row_id", "text", "label", "label_id", "group", "leaks_from_train", "domain_name", "length"),
        *("source_text", "source_source_row_id", "source_row_id", "source_label"),
    ]
    assert [test.schema[name] for name in ("row_id", "text", "label", "label_id", "length")] == [
        *(pl.Int64, pl.String, pl.String, pl.Int64, pl.Int64)
    ]
    # row_id is the place in the source, which here is also its length and the end of its text.
    assert test["row_id"].to_list() == test["length"].to_list()
    assert test["text"].to_list() == [f"text number {i}" for i in test["row_id"]]
    assert test.filter(pl.col("label") == "AI_Generated")["label_id"].unique().to_list() == [0]


def test_prepared_splits_can_stand_beside_new_rows(prepare, rows: pl.DataFrame) -> None:
    names = {"text_column": "body", "label_column": "text"}
    source = rows.select(body="text", text="label")
    once = prepare(source, **names)
    own = source[once.splits["train"]["row_id"].to_list()].head(100)
    mixed = prepare({**once.splits, "train": own}, **names)
    assert mixed.written == {"train": 100, "validation": 20, "test": 20}
    for split, frame in mixed.splits.items():
        expected = once.splits[split].head(100).select("text", "label", "label_id")
        assert frame.select("text", "label", "label_id").equals(expected)
    assert mixed.splits["test"]["source_row_id"].to_list() == once.splits["test"]["row_id"].to_list()


def test_given_splits_are_kept_and_numbered_through(prepare, rows: pl.DataFrame) -> None:
    splits = {"test": rows.slice(180), "train": rows.slice(0, 150), "validation": rows.slice(150, 30)}
    prepared = prepare(splits)
    assert prepared.written == {"train": 150, "validation": 30, "test": 20}
    assert prepared.splits["validation"]["row_id"].to_list() == list(range(150, 180))
    assert prepared.splits["test"]["text"].to_list() == splits["test"]["text"].to_list()
    assert prepared.notes == ()


def test_missing_splits_are_cut_from_train(prepare, rows: pl.DataFrame) -> None:
    given = {"train": rows.slice(0, 180), "test": rows.slice(180)}
    prepared = prepare(given)
    assert prepared.written == {"train": 160, "validation": 20, "test": 20}
    assert prepared.splits["test"]["text"].to_list() == given["test"]["text"].to_list()
    assert "no validation in the data: train is cut into train 0.889, validation 0.111" in prepared.notes[0]
    assert prepare({"train": rows}).written == {"train": 160, "validation": 20, "test": 20}
    assert prepared.accounts["train"].rows_in == 180


def test_order_of_the_rows_decides_nothing(prepare, rows: pl.DataFrame) -> None:
    copies = rows.head(50).with_columns(domain_name=pl.lit("books"))
    rows = pl.concat([rows, copies])
    members = {split: set(frame["text"]) for split, frame in prepare(rows).splits.items()}
    shuffled = prepare(rows.sample(fraction=1, shuffle=True, seed=3)).splits
    assert {split: set(frame["text"]) for split, frame in shuffled.items()} == members


def test_copies_across_splits_leave_train_and_are_told(prepare, rows: pl.DataFrame) -> None:
    prepared = prepare({"train": rows, "validation": rows.slice(0, 20), "test": rows.slice(20, 20)})
    assert prepared.written == {"train": 160, "validation": 20, "test": 20}
    assert prepared.accounts["train"].dropped["duplicate"] == 40
    assert prepared.notes == ("40 duplicates in train are copies of rows in another split, which keeps them",)


def test_what_the_numbers_do_not_tell_is_noted(prepare, rows: pl.DataFrame) -> None:
    odd = pl.DataFrame({"text": ["u", "c", "c"], "label": ["Alien", "AI_Generated", "Human_Written"]})
    notes = prepare(pl.concat([rows, odd], how="diagonal")).notes
    assert 'labels that are not in model.labels, rows dropped: "Alien" (1)' in notes
    assert "2 rows hold a text that stands under several labels, and are dropped" in notes
    one_class = rows.filter(pl.col("label") == "AI_Generated").head(3)
    notes = prepare({"train": rows.slice(50), "validation": rows.slice(0, 50), "test": one_class}).notes
    assert "test has no row of Human_Written: some scores cannot be computed" in notes


def test_label_table_counts_and_weighs_the_train_split_really_used(prepare, rows: pl.DataFrame) -> None:
    table = prepare(rows).labels
    assert table.counts["train"] == {"AI_Generated": 96, "Human_Written": 64}
    assert table.class_weights == pytest.approx((160 / (2 * 96), 160 / (2 * 64)), rel=1e-6)
    assert table.positive_label == "AI_Generated"
    off = prepare(rows, class_weights=ClassWeights(enabled=False), positive_label="Human_Written").labels
    assert off.class_weights == (1.0, 1.0)
    assert off.positive_label == "Human_Written"


def test_more_than_two_classes_are_prepared(prepare) -> None:
    rows = [{"text": f"{name} {i}", "label": name} for name in ("c", "a", "b") for i in range(30)]
    prepared = prepare(rows, labels=["b", "c", "a"])
    assert prepared.labels.counts["test"] == {"b": 3, "c": 3, "a": 3}
    assert prepared.splits["train"].filter(pl.col("label") == "a")["label_id"].unique().to_list() == [2]
    assert prepared.domain_column is None
    assert "stratified by label" in prepared.notes[0]


# rows, settings, what the message must say
ROW = {"text": "x", "label": "AI_Generated"}
MANY = [{"text": f"t{i}", "label": ["AI_Generated", "Human_Written"][i % 2]} for i in range(40)]
NOT_IN = "is not in the data; it has: text, label. Set"
REFUSED = [
    ([ROW], {"label_column": "labels"}, f'label column "labels" {NOT_IN} model.label_column.'),
    ([ROW], {"text_column": "body"}, f'text column "body" {NOT_IN} model.text_column.'),
    (MANY, {"domain_column": "topic"}, f'domain column "topic" {NOT_IN} dataset.domain_column.'),
    ({"train": MANY, "test": [{"text": "x"}]}, {}, 'column "label" is not in the test split; it has: text.'),
    ([{"text": ["x"], "label": "AI_Generated"}], {}, 'the column "text" holds List(String), not text'),
    (MANY, {"text_column": "label"}, "model.text_column and model.label_column are both label"),
    (MANY, {"labels": ["a", "b"]}, 'holds: "AI_Generated" (20), "Human_Written" (20). Set model.labels'),
    ([{"text": " ", "label": "AI_Generated"}] * 3, {}, "no row is usable: 3 in, dropped 3 empty"),
    ([{"text": None, "label": None}] * 3, {}, "no row is usable: 3 in, dropped 3 null"),
    ({"train": MANY, "validation": MANY[:2], "test": MANY[:2]}, {}, "no row of validation is usable: 2 in"),
    (MANY[:4], {}, "4 usable rows are too few: test would be empty"),
    (MANY, {"split_ratios": [0.9, 0.1, 0.0]}, "40 usable rows are too few: test would be empty"),
    (MANY[::2], {}, 'train has no row of Human_Written; it has "AI_Generated" (16), "Human_Written" (0)'),
]


@pytest.mark.parametrize(("data", "settings", "message"), REFUSED, ids=[m[:40] for _, _, m in REFUSED])
def test_data_that_cannot_be_used_are_refused_with_what_was_found(prepare, data, settings, message) -> None:
    with pytest.raises((DataError, ConfigError)) as raised:
        prepare(data, **settings)
    assert message in str(raised.value)
    assert raised.value.exit_code == 2


def test_positive_label_must_be_a_label(prepare) -> None:
    with pytest.raises(ConfigError, match=r"positive_label is Robot; model\.labels has AI_Generated, Human"):
        prepare(MANY, positive_label="Robot")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_file_is_prepared_alike_in_every_kind(tmp_path: Path, rows: pl.DataFrame, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    writers = {"csv": rows.write_csv, "jsonl": rows.write_ndjson, "parquet": rows.write_parquet}
    writers[suffix](path)
    settings = {"model": Model(), "dataset": Dataset(audit=False)}
    prepared = prepare_splits(resolve_source(str(path)), **settings)
    expected = prepare_splits(to_raw(rows), **settings)
    for split, frame in prepared.splits.items():
        assert frame.drop("length").equals(expected.splits[split].drop("length"))


def test_what_is_written_is_read_back(prepare, rows: pl.DataFrame, tmp_path: Path) -> None:
    rows = rows.with_columns(
        tags=pl.Series([["a", "b"], [], None, ["c"]] * 50),
        kind=pl.col("domain_name").cast(pl.Categorical),
        note=pl.lit('häß "🙂"\n\x00'),
        nothing=pl.lit(None),
    )
    prepared = prepare(pl.concat([rows, rows.head(10)]), audit=True)
    assert prepared.leaks is not None
    write_prepared(tmp_path, prepared)
    json_names = ["audit.json", "labels.json", "overlap.json"]
    names = [*json_names, "test.parquet", "train.parquet", "validation.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    back = read_prepared(tmp_path)
    assert {**vars(back), "splits": None} == {**vars(prepared), "splits": None}
    for split, frame in prepared.splits.items():
        assert back.splits[split].equals(frame)
        # The polars reader that a user may take gives the same.
        assert pl.read_parquet(tmp_path / f"{split}.parquet").equals(frame)
    assert read_labels(tmp_path) == prepared.labels


def test_split_becomes_a_dataset_with_the_same_rows(prepare, rows: pl.DataFrame) -> None:
    frame = prepare(rows).splits["test"]
    assert to_frame(to_dataset(frame)).equals(frame)


def test_prepared_files_are_the_same_bytes_every_time(prepare, rows: pl.DataFrame, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_prepared(tmp_path / name, prepare(rows))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_flipped_bit_in_a_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    # Random digits do not compress into a dictionary, so that the middle of the file is page data.
    frame = pl.DataFrame({"text": [f"{i * 7919 % 10007}" for i in range(10_000)]})
    write_parquet(path, frame)
    assert read_parquet(path).equals(frame)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_split(tmp_path, "train")


def test_frame_over_several_row_groups_survives(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [str(i) for i in range(45_000)]}).with_columns(
        pl.col("text").str.tail(1).cast(pl.Categorical).alias("digit")
    )
    write_parquet(tmp_path / "a.parquet", frame)
    assert read_parquet(tmp_path / "a.parquet").equals(frame)


def test_missing_artifact_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"audit\.json is missing"):
        read_prepared(tmp_path)
    with pytest.raises(ArtifactError, match=r"test\.parquet"):
        read_split(tmp_path, "test")


def test_labelled_file_is_scored_as_it_is(rows: pl.DataFrame) -> None:
    odd = pl.DataFrame(
        {"text": ["", "u", "text number 0"], "label": ["AI_Generated", "Alien", "AI_Generated"]}
    )
    labelled = prepare_labelled(to_raw(pl.concat([rows, odd], how="diagonal")), model=Model())
    assert labelled.frame.height == 201
    assert labelled.account.rows_in == 203
    assert {reason: n for reason, n in labelled.account.dropped.items() if n} == {
        "empty": 1,
        "unknown_label": 1,
    }
    assert labelled.frame["row_id"].to_list() == [*range(200), 202]
    assert labelled.domain_column == "domain_name"
    assert "Alien" in labelled.notes[0]


def test_labelled_data_with_splits_are_scored_on_test(rows: pl.DataFrame) -> None:
    labelled = prepare_labelled(to_raw({"train": rows, "test": rows.head(7)}), model=Model())
    assert labelled.frame.height == 7
    assert labelled.notes == ('only the split "test" is scored',)
    with pytest.raises(DataError, match="no row of test is usable"):
        prepare_labelled(to_raw({"test": [{"text": "", "label": "AI_Generated"}]}), model=Model())

"""Attacked copies: in train alone, of both classes alike, in their source's group, and accounted for."""

import shutil

import polars as pl
import pytest

from qwenkit.config.schema_model import Augment, NearDuplicates
from qwenkit.data.augment import augment_train, identify_paraphraser
from qwenkit.data.prepared import read_prepared, write_prepared
from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.text.attacks import ATTACKS, attack_text
from tests.modeling.tiny_models import make_tokenizer
from tests.text.test_paraphrase import make_model

TEXT = (
    "The organizers of the {} center asked in {} and in 98765432. It was a dog. Many people of the town have "
    "received the color."
)


@pytest.fixture
def prose() -> pl.DataFrame:
    """Rows of which every attack finds something to change, 240 and 160 a class."""
    return pl.DataFrame(
        {
            "text": [TEXT.format(f"city{'abcdefghij'[i % 10]}", 10_000_000 + 7_919 * i) for i in range(400)],
            "label": ["AI_Generated" if i % 5 < 3 else "Human_Written" for i in range(400)],
            "domain": ["news" if i < 200 else "wiki" for i in range(400)],
        }
    )


def make_splits(prose: pl.DataFrame) -> dict[str, pl.DataFrame]:
    rows = prose.with_row_index("row_id").with_columns(
        pl.col("row_id").cast(pl.Int64),
        label_id=(pl.col("label") == "Human_Written").cast(pl.Int64),
        group=pl.int_range(0, pl.len()) // 2,
    )
    return {"train": rows.head(300), "validation": rows[300:350], "test": rows.tail(50)}


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_adds_its_share_of_each_class_beside_the_rows(name: str, prose: pl.DataFrame) -> None:
    splits = make_splits(prose)
    found, counts, notes = augment_train(splits, Augment(attacks=[name], share=0.2), normalize=(), seed=3)
    variants = found["train"].filter(pl.col("augmented_by").is_not_null())
    sizes = splits["train"]["label"].value_counts().sort("label")["count"].to_list()
    assert variants["label"].value_counts().sort("label")["count"].to_list() == [n * 0.2 for n in sizes]
    assert counts == {name: variants.height}
    assert notes == [f"60 attacked copies of training rows added: {name} 60"]
    sources = variants.join(splits["train"], left_on="augmented_from", right_on="row_id", suffix="_source")
    assert sources.height == variants.height
    for column in ("label", "label_id", "domain", "group"):
        assert sources[column].to_list() == sources[f"{column}_source"].to_list()
    assert sources["text"].to_list() == [
        attack_text(name, text, seed=3, row_id=row_id)
        for text, row_id in sources.select("text_source", "augmented_from").rows()
    ]
    for split, frame in splits.items():
        kept = found[split].filter(pl.col("augmented_by").is_null())
        assert kept.drop("augmented_by", "augmented_from").equals(frame)
        assert found[split].columns == found["train"].columns


def test_row_ids_stay_unique_over_all_splits_and_attacks_draw_rows_of_their_own(prose: pl.DataFrame) -> None:
    settings = Augment(attacks=["homoglyph", "whitespace", "zero_width_space"], share=0.1)
    found, _, _ = augment_train(make_splits(prose), settings, normalize=(), seed=1)
    ids = pl.concat(frame["row_id"] for frame in found.values())
    assert ids.n_unique() == len(ids) == 400 + 3 * 30
    drawn = {
        name: set(found["train"].filter(pl.col("augmented_by") == name)["augmented_from"])
        for name in settings.attacks
    }
    assert len(set.union(*drawn.values())) > 50


def test_variants_hold_what_normalisation_leaves_of_an_attack(prose: pl.DataFrame) -> None:
    splits = make_splits(prose)
    settings = Augment(attacks=["zero_width_space", "number"], share=0.2)
    found, counts, notes = augment_train(splits, settings, normalize=["strip_zero_width"], seed=1)
    assert counts["zero_width_space"] == 0
    assert counts["number"] == 60
    assert "fewer copies than dataset.augment.share asks for (60 each) by zero_width_space" in notes[1]
    assert not found["train"]["text"].str.contains("\u200b").any()


def test_variant_that_equals_a_text_of_any_split_is_not_added(prose: pl.DataFrame) -> None:
    splits = make_splits(prose)
    settings = Augment(attacks=["insert_paragraphs"], share=1.0)
    found, _, _ = augment_train(splits, settings, normalize=(), seed=1)
    variants = found["train"].filter(pl.col("augmented_by").is_not_null())
    taken = variants["text"].head(20).to_list()
    splits["test"] = splits["test"].with_columns(
        text=pl.Series(taken + splits["test"]["text"][20:].to_list())
    )
    again, counts, _ = augment_train(splits, settings, normalize=(), seed=1)
    assert counts == {"insert_paragraphs": variants.height - 20}
    assert not set(again["train"]["text"]) & set(taken)


def test_variants_are_the_same_every_time_and_others_with_another_seed(prose: pl.DataFrame) -> None:
    settings = Augment(attacks=["approximate_synonym", "upper_lower"], share=0.3)
    first, _, _ = augment_train(make_splits(prose), settings, normalize=(), seed=1)
    again, _, _ = augment_train(make_splits(prose), settings, normalize=(), seed=1)
    other, _, _ = augment_train(make_splits(prose), settings, normalize=(), seed=2)
    assert first["train"].equals(again["train"])
    assert not first["train"].equals(other["train"])


def test_without_attacks_nothing_changes(prose: pl.DataFrame) -> None:
    splits = make_splits(prose)
    assert augment_train(splits, Augment(), normalize=(), seed=1) == (splits, {}, [])


def test_prepared_data_account_for_the_variants(prepare, prose: pl.DataFrame, tmp_path) -> None:
    # The texts are so alike that near-duplicates would all be one group.
    common = {"audit": True, "near_duplicates": NearDuplicates(enabled=False)}
    augment = Augment(attacks=["homoglyph", "number"], share=0.25)
    plain, prepared = prepare(prose, **common), prepare(prose, **common, augment=augment)
    assert prepared.augmented == {"homoglyph": 80, "number": 80}
    accounts = prepared.accounts["all"]
    assert accounts.rows_in == accounts.kept + sum(accounts.dropped.values())
    assert sum(prepared.written.values()) == accounts.kept + sum(prepared.augmented.values())
    assert prepared.count_rows()["augmented"] == prepared.augmented
    # Half as many again of each class: counts are those of what is trained on, weights stay.
    for label, count in plain.labels.counts["train"].items():
        assert prepared.labels.counts["train"][label] == count * 1.5
        assert prepared.labels.counts["test"][label] == plain.labels.counts["test"][label]
    assert prepared.labels.class_weights == plain.labels.class_weights
    assert prepared.leaks == plain.leaks
    train = prepared.splits["train"]
    variants = train.filter(pl.col("augmented_by").is_not_null())
    groups = dict(train.select("row_id", "group").rows())
    assert [groups[source] for source in variants["augmented_from"]] == variants["group"].to_list()
    assert "160 attacked copies of training rows added: homoglyph 80, number 80" in prepared.notes
    write_prepared(tmp_path, prepared)
    back = read_prepared(tmp_path)
    assert back.augmented == prepared.augmented
    assert back.splits["train"].equals(prepared.splits["train"])


def test_an_unknown_attack_is_refused_with_the_nearest_name(prepare, prose: pl.DataFrame) -> None:
    with pytest.raises(
        ConfigError, match=r"dataset\.augment\.attacks +homoglyf is unknown; did you mean homog"
    ):
        prepare(prose, augment=Augment(attacks=["homoglyf"]))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A tiny random text-to-text model, as it would be downloaded."""
    folder = tmp_path_factory.mktemp("paraphraser")
    make_model("text-to-text").save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_paraphrases_of_a_local_model_are_added_like_any_other_attack(model_folder, prose) -> None:
    settings = Augment(attacks=["paraphrase"], share=0.02, paraphraser=str(model_folder))
    splits = make_splits(prose)
    found, counts, _ = augment_train(splits, settings, normalize=(), seed=1)
    variants = found["train"].filter(pl.col("augmented_by") == "paraphrase")
    assert counts == {"paraphrase": 6} == {"paraphrase": variants.height}
    assert not set(variants["text"]) & set(prose["text"])
    again, _, _ = augment_train(splits, settings, normalize=(), seed=1)
    assert again["train"].equals(found["train"])


def test_paraphraser_is_identified_by_its_weights_and_only_where_it_is_used(model_folder, tmp_path) -> None:
    used = Augment(attacks=["paraphrase"], paraphraser=str(model_folder))
    assert identify_paraphraser(Augment(paraphraser=str(model_folder))) == {}
    identity = identify_paraphraser(used)
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    moved = Augment(attacks=["paraphrase"], paraphraser=str(copy))
    assert identify_paraphraser(moved) == identity
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert identify_paraphraser(moved) != identity
    with pytest.raises(ArtifactError, match="is no folder of a downloaded model"):
        identify_paraphraser(Augment(attacks=["paraphrase"], paraphraser=str(tmp_path / "none")))

"""Text to ids: one way for all, no padding, special tokens as text, empty rows refused."""

import unicodedata

import datasets
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, processors
from transformers import PreTrainedTokenizerFast

from qwenkit.console import Console
from qwenkit.errors import DataError
from qwenkit.modeling import predictor
from qwenkit.tokens import encoding
from qwenkit.tokens.batches import ROWS_PER_BATCH
from qwenkit.tokens.encoding import encode_dataset, encode_texts
from qwenkit.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import AWKWARD_TEXTS, TRAIN_TEXTS

LONG = 10**9


def encode_one(text: str, tokenizer: PreTrainedTokenizerFast, max_length: int = LONG) -> list[int]:
    return encode_texts([text], tokenizer=tokenizer, max_length=max_length)[0]


def make_rows(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": [10 * index for index in range(len(texts))],
            "domain": ["news"] * len(texts),
            "text": texts,
            "label_id": [index % 2 for index in range(len(texts))],
        }
    )


def encode_rows(
    rows: pl.DataFrame | datasets.Dataset, tokenizer: PreTrainedTokenizerFast, **options: int | bool
) -> datasets.Dataset:
    return encode_dataset(
        rows, tokenizer=tokenizer, console=Console(quiet=True), **{"max_length": 16, **options}
    )


# ---- One text ----


def test_special_token_in_a_text_is_text_and_never_the_pad_id(tokenizer: PreTrainedTokenizerFast) -> None:
    for token in tokenizer.all_special_tokens:
        ids = encode_one(f"before {token} after", tokenizer)
        assert not set(ids) & set(tokenizer.all_special_ids)
        assert tokenizer.decode(ids) == f"before {token} after"


def test_special_tokens_are_split_even_if_the_tokenizer_was_told_otherwise(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer("a <|endoftext|> b", split_special_tokens=False)
    assert tokenizer.pad_token_id not in encode_one("a <|endoftext|> b", tokenizer)


def test_ids_are_those_of_the_librarys_own_call(
    tokenizer: PreTrainedTokenizerFast, awkward_text: str
) -> None:
    for max_length in (1, 7, 10_000):
        stock = tokenizer(awkward_text, truncation=True, max_length=max_length, split_special_tokens=True)
        assert encode_one(awkward_text, tokenizer, max_length) == stock["input_ids"]


def test_text_alone_has_the_same_ids_as_among_others(
    tokenizer: PreTrainedTokenizerFast, awkward_text: str
) -> None:
    texts = [*AWKWARD_TEXTS.values(), awkward_text, *TRAIN_TEXTS]
    together = encode_texts(texts, tokenizer=tokenizer, max_length=LONG)
    assert together[len(AWKWARD_TEXTS)] == encode_one(awkward_text, tokenizer)


def test_nothing_is_padded_and_what_a_call_left_behind_does_not_matter(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer(["the river", "the"], truncation=True, max_length=3, padding="max_length")
    long, short = encode_texts(["the river ran and ran and ran", "a"], tokenizer=tokenizer, max_length=LONG)
    assert len(long) > 3
    assert len(short) == 1


def test_composed_and_decomposed_accents_are_the_same_text(tokenizer: PreTrainedTokenizerFast) -> None:
    assert encode_one("cafe\u0301", tokenizer) == encode_one("caf\u00e9", tokenizer)


def test_line_of_a_megabyte_is_encoded_whole_and_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "the river " * 100_000
    whole = encode_texts([text], tokenizer=tokenizer, max_length=384, truncation=False)[0]
    assert tokenizer.decode(whole) == text
    assert encode_one(text, tokenizer, 384) == whole[:384]


def test_megabyte_without_a_space_is_encoded(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(encode_one("abcdefgh" * 125_000, tokenizer, 384)) == 384


def test_tokens_that_the_tokenizer_puts_around_a_text_survive_the_cut() -> None:
    tokenizer = train_tokenizer(TRAIN_TEXTS, vocab_size=400, max_length=32)
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", start), ("<|im_end|>", end)]
    )
    for max_length in (3, 8, 1000):
        ids = encode_one("the river ran through the old town", tokenizer, max_length)
        stock = tokenizer("the river ran through the old town", truncation=True, max_length=max_length)
        assert ids == stock["input_ids"]
        assert (ids[0], ids[-1]) == (start, end)


def test_no_texts_give_no_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    assert encode_texts([], tokenizer=tokenizer, max_length=16) == []


@given(st.text(min_size=1).filter(lambda text: not text.isspace()))
@settings(max_examples=300, deadline=None)
def test_decoding_gives_back_the_text_in_composed_form(text: str) -> None:
    ids = encode_one(text, _TOKENIZER)
    # The tokenizer's own NFC is the reference: Python's tables are of another Unicode version.
    assert _TOKENIZER.decode(ids) == normalizers.NFC().normalize_str(text)
    assert all(0 <= token_id < len(_TOKENIZER) - len(_TOKENIZER.all_special_ids) for token_id in ids)


@given(
    st.lists(st.text(alphabet="abc <|endoftext|>é\n🏞", min_size=1).filter(str.strip), min_size=1, max_size=9)
)
@settings(max_examples=100, deadline=None)
def test_any_batch_gives_each_text_its_own_ids(texts: list[str]) -> None:
    together = encode_texts(texts, tokenizer=_TOKENIZER, max_length=12)
    assert together == [encode_one(text, _TOKENIZER, 12) for text in texts]


_TOKENIZER = train_tokenizer(TRAIN_TEXTS, vocab_size=400, max_length=32)


def test_composed_form_is_unicodes_for_settled_characters(tokenizer: PreTrainedTokenizerFast) -> None:
    text = AWKWARD_TEXTS["decomposed accents"]
    assert tokenizer.decode(encode_one(text, tokenizer)) == unicodedata.normalize("NFC", text)


# ---- Rows that cannot be encoded ----


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000"])
def test_empty_or_blank_text_is_refused_with_its_row(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    with pytest.raises(DataError, match="row 1 has no text to read"):
        encode_texts(["fine", text], tokenizer=tokenizer, max_length=16)
    with pytest.raises(DataError, match="row 77 has no text to read"):
        encode_texts(["fine", text], tokenizer=tokenizer, max_length=16, row_ids=[5, 77])


@pytest.mark.parametrize(("value", "kind"), [(None, "NoneType"), (3, "int"), (float("nan"), "float")])
def test_value_that_is_not_text_is_refused_with_its_row(
    tokenizer: PreTrainedTokenizerFast, value: object, kind: str
) -> None:
    with pytest.raises(DataError, match=f"row 1 holds {kind} where text is expected"):
        encode_texts(["fine", value], tokenizer=tokenizer, max_length=16)  # type: ignore[list-item]


def test_half_of_a_character_is_refused_with_its_row(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="row 1 holds half a character"):
        encode_texts(["fine", "x\ud800y"], tokenizer=tokenizer, max_length=16)


def test_empty_text_in_a_split_is_refused_by_its_row_id(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ["the river"] * (ROWS_PER_BATCH + 3)
    texts[-1] = ""
    with pytest.raises(DataError, match=rf"row {10 * (ROWS_PER_BATCH + 2)} has no text"):
        encode_rows(make_rows(texts), tokenizer)


def test_missing_column_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="lack row_id; they have domain, text, label_id"):
        encode_rows(make_rows(["a"]).drop("row_id"), tokenizer)


# ---- Splits ----


def test_split_has_the_ids_of_encode_texts_in_the_order_given(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [f"{text} {index}" for index in range(300) for text in ("the river", "a", "старый город")]
    rows = make_rows(texts)
    encoded = encode_rows(rows, tokenizer, num_workers=3)
    assert encoded["input_ids"][:] == encode_texts(texts, tokenizer=tokenizer, max_length=16)
    assert encoded["row_id"][:] == rows["row_id"].to_list()
    assert encoded["labels"][:] == rows["label_id"].to_list()
    assert encoded["length"][:] == [len(ids) for ids in encoded["input_ids"][:]]


def test_columns_have_their_types(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode_rows(make_rows(["the river", "a"]), tokenizer)
    assert {name: str(feature) for name, feature in encoded.features.items()} == {
        "row_id": "Value('int64')",
        "input_ids": "List(Value('int32'))",
        "length": "Value('int32')",
        "full_length": "Value('int32')",
        "labels": "Value('int64')",
    }


def test_length_before_the_cut_is_kept(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "the river ran through the old town, and the people there were proud of it"
    whole = len(encode_one(text, tokenizer))
    assert whole > 16
    encoded = encode_rows(make_rows([text, "a"]), tokenizer, max_length=16)
    assert encoded["length"][:] == [16, 1]
    assert encoded["full_length"][:] == [whole, 1]
    uncut = encode_rows(make_rows([text, "a"]), tokenizer, max_length=16, truncation=False)
    assert uncut["length"][:] == [whole, 1]


def test_result_does_not_depend_on_workers_or_on_the_kind_of_rows(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows = make_rows([f"{text} {index}" for index in range(30) for text in TRAIN_TEXTS])
    dataset = datasets.Dataset(rows.to_arrow())
    variants = [
        encode_rows(rows, tokenizer, num_workers=1),
        encode_rows(rows, tokenizer, num_workers=4),
        encode_rows(dataset, tokenizer),
        encode_rows(dataset.with_format("numpy"), tokenizer),
        encode_rows(dataset.select(range(len(rows))[::-1]).select(range(len(rows))[::-1]), tokenizer),
    ]
    assert len({variant._fingerprint for variant in variants}) == 1
    assert all(variant.to_dict() == variants[0].to_dict() for variant in variants)


def test_fingerprint_changes_with_ids_labels_and_order(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = make_rows(["the river", "a", "the town"])
    variants = [
        encode_rows(rows, tokenizer),
        encode_rows(rows.with_columns(label_id=1 - pl.col("label_id")), tokenizer),
        encode_rows(rows.reverse(), tokenizer),
        encode_rows(rows.with_columns(text=pl.lit("a")), tokenizer),
        encode_rows(rows, tokenizer, max_length=1),
    ]
    assert len({variant._fingerprint for variant in variants}) == len(variants)


def test_split_without_rows_is_encoded_to_none(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode_rows(make_rows(["a"]).head(0), tokenizer)
    assert len(encoded) == 0
    assert encoded.column_names == ["row_id", "input_ids", "length", "full_length", "labels"]


def test_progress_counts_all_rows_and_the_environment_is_as_before(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    class CountingConsole(Console):
        def progress(self, description, total, unit):  # type: ignore[no-untyped-def]
            assert (description, total, unit) == ("tokenizing", 1100, "rows")
            return _CountingBar(counted)

    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    rows = make_rows(["the river"] * 1100)
    encode_dataset(rows, tokenizer=tokenizer, max_length=16, console=CountingConsole())
    assert sum(counted) == 1100
    assert "TOKENIZERS_PARALLELISM" not in encoding.os.environ


class _CountingBar:
    def __init__(self, counted: list[int]) -> None:
        self.counted = counted

    def __enter__(self) -> "_CountingBar":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def advance(self, n: int = 1, **fields: object) -> None:
        self.counted.append(n)


# ---- One function for all ----


def test_prediction_and_training_use_the_same_encoder(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*AWKWARD_TEXTS.values(), *TRAIN_TEXTS]
    trained_on = encode_rows(make_rows(texts), tokenizer, max_length=16)["input_ids"][:]
    seen = []

    def remember_ids(model: object, input_ids: list[list[int]], **options: object) -> np.ndarray:
        seen.extend(input_ids)
        return np.zeros((len(input_ids), 2), dtype=np.float32)

    monkeypatch.setattr(predictor, "predict_logits", remember_ids)
    _make_predictor(tokenizer).predict(texts)
    assert seen == trained_on


def test_rules_of_normalisation_come_first_one_by_one_and_in_a_split(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    raw, clean = "The\n\n  Cat\u200b sat", "the cat sat"
    rules = ["strip_zero_width", "collapse_whitespace", "lower_case"]
    expected = encode_one(clean, tokenizer)
    options = {"tokenizer": tokenizer, "max_length": LONG}
    assert encode_one(raw, tokenizer) != expected
    assert encode_texts([raw, clean], normalisation=rules, **options) == [expected, expected]
    rows = encode_dataset(make_rows([raw]), normalisation=rules, console=Console(quiet=True), **options)
    assert rows["input_ids"][0] == expected
    with pytest.raises(DataError, match="row 0 has no text to read"):
        encode_texts(["\u200b\u200b"], normalisation=rules, **options)


def _make_predictor(tokenizer: PreTrainedTokenizerFast) -> predictor.Predictor:
    from types import SimpleNamespace

    bundle = SimpleNamespace(
        max_length=16,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
        temperature=1.0,
        normalisation=[],
        labels=["AI_Generated", "Human_Written"],
        tokenizer=SimpleNamespace(truncation=True, split_special_tokens=True),
    )
    return predictor.Predictor(SimpleNamespace(bundle=bundle, model=None, tokenizer=tokenizer))  # type: ignore[arg-type]

"""Text to ids: one way for all, no padding, special tokens as text, empty rows refused."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, processors
from transformers import PreTrainedTokenizerFast

from qwenkit.console import Console
from qwenkit.errors import DataError
from qwenkit.modeling import predictor
from qwenkit.tokens.encoding import encode_dataset, encode_texts
from qwenkit.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import AWKWARD_TEXTS, TRAIN_TEXTS
from tests.tokens.encoded import LONG, encode_one, encode_rows, make_rows

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


# ---- Texts that cannot be encoded ----


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000"])
def test_empty_or_blank_text_is_refused_with_its_row(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    with pytest.raises(DataError, match="row 1 has no text to read"):
        encode_texts(["fine", text], tokenizer=tokenizer, max_length=16)


@pytest.mark.parametrize(("value", "kind"), [(None, "NoneType"), (3, "int"), (float("nan"), "float")])
def test_value_that_is_not_text_is_refused_with_its_row(
    tokenizer: PreTrainedTokenizerFast, value: object, kind: str
) -> None:
    with pytest.raises(DataError, match=f"row 1 holds {kind} where text is expected"):
        encode_texts(["fine", value], tokenizer=tokenizer, max_length=16)  # type: ignore[list-item]


def test_half_of_a_character_is_refused_with_its_row(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="row 1 holds half a character"):
        encode_texts(["fine", "x\ud800y"], tokenizer=tokenizer, max_length=16)


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

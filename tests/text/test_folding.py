"""Copies that differ in what a reader does not see, or does not mind, fold to the same words."""

import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwenkit.text.folding import fold_for_comparison, slice_by_size, view_bytes

SENTENCE = "The quick brown fox, 42 of them, can't jump over it."
FOLDED = "the quick brown fox 42 of them can t jump over it"


def fold(text: str) -> str:
    return fold_for_comparison(pl.Series([text]))[0]


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE,
        SENTENCE.upper(),
        SENTENCE.replace(" ", "\r\n\t \u00a0"),
        f"  {SENTENCE}\n\n",
        "\u200b".join(SENTENCE),
        "\u00ad".join(SENTENCE),
        SENTENCE.replace("'", "\u2019").replace(",", " \u2014"),
        SENTENCE.translate({ord(c): ord(c) + 0xFEE0 for c in SENTENCE if c.isalnum()}),  # full width
        SENTENCE.translate({ord(c): ord(c) - 97 + 0x1D41A for c in "abcdefghijklmnopqrstuvwxyz"}),  # bold
        # RAID's homoglyphs, Cyrillic and Greek.
        SENTENCE.translate(str.maketrans("aceiopxyTH", "асеіорхуТН")),
        SENTENCE.translate(str.maketrans("oTHv", "οΤΗν")),
        "".join(char + "\u0301\u0336" * char.isalpha() for char in SENTENCE),
        f"**{SENTENCE}**",
    ],
)
def test_copy_that_only_looks_different_folds_to_the_same(text: str) -> None:
    assert fold(text) == FOLDED


def test_what_a_reader_minds_stays() -> None:
    assert fold("Version 3.11 of it") == "version 3 11 of it"
    assert fold("a b") != fold("ab")
    assert fold("Die Straße hat 5 Häuser") == "die straße hat 5 hauser"
    assert fold("Привет, мир!") == fold("ПРИВЕТ МИР") != fold("Пока, мир!")


def test_scripts_without_spaces_fall_into_characters() -> None:
    assert fold("我喜歡讀書。") == "我 喜 歡 讀 書"


def test_rows_keep_their_places() -> None:
    texts = ["A!", None, "", "b\u2019s", "...", "\u200b", "Ünï", " x  "]
    folded = fold_for_comparison(pl.Series("text", texts))
    assert folded.to_list() == ["a", None, "", "b s", "", "", "uni", "x"]
    assert folded.name == "text"
    assert fold_for_comparison(pl.Series([], dtype=pl.String)).to_list() == []
    assert fold_for_comparison(pl.Series(texts)[2:5]).to_list() == ["", "b s", ""]


# Letters, marks and signs of the kinds that texts are full of; Unicode versions agree on all of them.
characters = st.sampled_from("aZ09 \n\t.,-'!éÀñçßøıŁ“”’–…\u00a0\u200b\u00ad\u0301日本あไสПриветΑβγ½™ﬁ２𝐚")


def fold_slowly(text: str) -> str:
    """Fold one character at a time, with Python's own Unicode tables."""
    from qwenkit.text.homoglyphs import LOOK_ALIKES

    look_alikes = {other: letter for letter, others in LOOK_ALIKES.items() for other in others}
    words = ""
    for char in unicodedata.normalize("NFKD", text):
        if unicodedata.category(char) in ("Cf", "Mn", "Me"):
            continue
        char = look_alikes.get(char, char).lower()
        char = look_alikes.get(char, char)
        is_letter = unicodedata.category(char)[0] in "LN"
        is_unspaced = any(name in unicodedata.name(char, "") for name in ("CJK", "HIRAGANA", "THAI"))
        words += (f" {char} " if is_unspaced else char) if is_letter else " "
    return " ".join(words.split())


@settings(deadline=None)
@given(st.lists(st.text(characters, max_size=30), max_size=8))
def test_vectorised_folding_is_that_of_one_character_at_a_time(texts: list[str]) -> None:
    folded = fold_for_comparison(pl.Series(texts, dtype=pl.String))
    assert folded.to_list() == [fold_slowly(text) for text in texts]


@settings(deadline=None)
@given(st.text(characters, max_size=50))
def test_folding_what_is_folded_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_folds_to_words_between_single_spaces(text: str) -> None:
    words = fold(text.encode(errors="ignore").decode())
    assert words == " ".join(words.split(" ")).strip(" ")
    assert "  " not in words


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 100))
def test_slices_cover_all_rows_and_stay_small(sizes: list[int], largest: int) -> None:
    slices = slice_by_size(np.asarray(sizes, dtype=np.int64), largest)
    assert [row for part in slices for row in range(part.start, part.stop)] == list(range(len(sizes)))
    for part in slices:
        # A chunk ends with the row that fills it.
        assert sum(sizes[part]) <= largest + max(sizes)


def test_bytes_of_a_slice_are_its_own() -> None:
    content, offsets = view_bytes(pl.Series(["ab", "c", None, "é"])[1:])
    assert (bytes(content), offsets.tolist()) == ("cé".encode(), [0, 1, 1, 3])

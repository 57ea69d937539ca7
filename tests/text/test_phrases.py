"""Boilerplate phrases: what counts as one, for whom, and how often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwenkit.text.phrases import LEAST_UNITS, PhraseIndex, score_phrases

FILLER = ["one two", "red green", "up down", "salt pepper", "day night", "sun moon", "cat dog", "sea sky"]


def make_texts(phrase: str, *, with_phrase: int, rows: int = 100) -> tuple[list[str], np.ndarray]:
    """Write two classes of texts; the first `with_phrase` of class 0 hold the phrase."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(FILLER, 6)) + f" w{row}" for row in range(2 * rows)]
    texts[:with_phrase] = [f"{text} {phrase} x{row}" for row, text in enumerate(texts[:with_phrase])]
    return texts, np.repeat([0, 1], rows)


def find(texts: list[str], label_ids: np.ndarray, units: np.ndarray | None = None) -> list[tuple[str, int]]:
    units = np.arange(len(texts)) if units is None else units
    index = PhraseIndex(texts)
    everywhere = np.ones(len(texts), dtype=bool)
    found = index.find(label_ids, units, n_classes=2, among=everywhere)
    # The filler's own runs of words are chance.
    return [(phrase.text, phrase.label_id) for phrase in found if "k1" in phrase.text]


def test_phrase_is_given_with_its_class_share_and_rows() -> None:
    texts, label_ids = make_texts("As an AI, I", with_phrase=30)
    index = PhraseIndex(texts)
    found = index.find(label_ids, np.arange(200), n_classes=2, among=np.ones(200, dtype=bool))
    telling = [phrase for phrase in found if "ai" in phrase.text.split()]
    # Runs of three; the words around the phrase differ from row to row.
    assert {phrase.text for phrase in telling} == {"as an ai", "an ai ,", "ai , i"}
    assert {phrase.label_id for phrase in telling} == {0}
    assert telling[0].share == pytest.approx(0.3)
    assert telling[0].share_elsewhere == 0
    assert telling[0].rows.tolist() == list(range(30))


def test_phrase_of_six_words_hides_the_ones_inside_it() -> None:
    texts, label_ids = make_texts("k1 k2 k3 k4 k5 k6", with_phrase=40)
    assert ("k1 k2 k3 k4 k5 k6", 0) in find(texts, label_ids)
    assert not any(text in ("k1 k2 k3", "k2 k3 k4") for text, _ in find(texts, label_ids))


def test_phrase_that_both_classes_have_is_none() -> None:
    texts, label_ids = make_texts("k1 k2 k3", with_phrase=50)
    texts[100:140] = [f"{text} k1 k2 k3 y{row}" for row, text in enumerate(texts[100:140])]
    assert not any("k1 k2 k3" in text for text, _ in find(texts, label_ids))


def test_rare_phrase_is_none() -> None:
    texts, label_ids = make_texts("k1 k2 k3", with_phrase=LEAST_UNITS - 1)
    assert find(texts, label_ids) == []


def test_copies_of_one_group_count_once() -> None:
    texts, label_ids = make_texts("k1 k2 k3", with_phrase=40)
    units = np.arange(200)
    assert find(texts, label_ids, units)
    units[:40] = 0
    assert find(texts, label_ids, units) == []


def test_only_rows_to_learn_from_decide_but_all_are_marked() -> None:
    texts, label_ids = make_texts("k1 k2 k3", with_phrase=40)
    among = np.arange(200) % 2 == 0
    index = PhraseIndex(texts)
    found = index.find(label_ids, np.arange(200), n_classes=2, among=among)
    phrases = [phrase for phrase in found if phrase.text == "k1 k2 k3"]
    assert phrases[0].share == pytest.approx(0.4)
    assert index.mark(phrases)[:, 0].tolist() == [1.0] * 40 + [0.0] * 160
    later = index.find(label_ids, np.arange(200), n_classes=2, among=np.arange(200) > 50)
    assert not any("k1" in phrase.text for phrase in later)


def test_rows_with_the_phrase_get_the_higher_score() -> None:
    texts, label_ids = make_texts("k1 k2 k3", with_phrase=60)
    is_test = np.arange(200) % 2 == 0
    scores = score_phrases(PhraseIndex(texts), label_ids, np.arange(200), n_classes=2, is_test=is_test)
    assert scores.shape == (100, 2)
    assert scores[:30, 0].min() > scores[30:, 0].max()


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_any_texts_are_indexed(texts: list[str]) -> None:
    index = PhraseIndex(texts)
    everywhere = np.ones(len(texts), dtype=bool)
    assert index.find(np.arange(len(texts)) % 2, np.arange(len(texts)), n_classes=2, among=everywhere) == []
    assert not index.mark([]).any()

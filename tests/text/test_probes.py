"""The shallow classifiers: what each can and cannot see."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from qwenkit.text.probes import (
    MAX_CHARACTERS,
    PROBES,
    ROWS_PER_CHUNK,
    count_character_ngrams,
    count_words,
    measure_lengths,
)
from qwenkit.text.stylometry import FEATURE_NAMES, measure_style

GREEN, RED = ["meadow", "forest", "moss", "fern"], ["rust", "brick", "ember", "wine"]


def make_texts(words, n_texts, *, seed, n_words=12):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(words, n_words)) for _ in range(n_texts)]


@pytest.fixture(scope="module")
def separable():
    """Two classes with words of their own, in texts of the same length in words."""
    train = make_texts(GREEN, 60, seed=1) + make_texts(RED, 60, seed=2)
    test = make_texts(GREEN, 40, seed=3) + make_texts(RED, 40, seed=4)
    return train, np.repeat([0, 1], 60), test, np.repeat([0, 1], 40)


def measure_auroc(name, data):
    train, train_ids, test, test_ids = data
    logits = PROBES[name].score(train, train_ids, test, 2)
    return roc_auc_score(test_ids, logits[:, 1] - logits[:, 0])


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_gives_finite_logits_and_the_same_ones_again(name, separable):
    train, train_ids, test, _ = separable
    logits = PROBES[name].score(train, train_ids, test, 2)
    assert logits.shape == (80, 2)
    assert np.isfinite(logits).all()
    assert np.array_equal(logits, PROBES[name].score(train, train_ids, test, 2))


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_answers_the_only_class_it_was_shown(name):
    logits = PROBES[name].score(["a b", "c d"], np.array([1, 1]), ["a", "x", ""], 3)
    assert logits.shape == (3, 3)
    assert logits.argmax(axis=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", PROBES)
def test_a_class_without_training_rows_is_never_answered(name, separable):
    train, train_ids, test, _ = separable
    logits = PROBES[name].score(train, train_ids * 2, test, 3)
    assert np.isfinite(logits).all()
    assert set(logits.argmax(axis=1)) <= {0, 2}


@pytest.mark.parametrize("name", ["words", "characters"])
def test_three_classes_are_told_apart(name):
    blue = ["sea", "sky", "ice", "slate"]
    train = [text for words in (GREEN, RED, blue) for text in make_texts(words, 30, seed=1)]
    test = [text for words in (GREEN, RED, blue) for text in make_texts(words, 10, seed=2)]
    logits = PROBES[name].score(train, np.repeat([0, 1, 2], 30), test, 3)
    assert (logits.argmax(axis=1) == np.repeat([0, 1, 2], 10)).mean() > 0.9


@pytest.mark.parametrize("name", ["words", "characters"])
def test_tfidf_tells_classes_with_words_of_their_own(name, separable):
    assert measure_auroc(name, separable) > 0.9


def test_majority_answers_the_more_frequent_class_for_every_text():
    logits = PROBES["majority"].score(["a"] * 5, np.array([0, 1, 1, 1, 0]), ["b"] * 3, 2)
    assert logits.argmax(axis=1).tolist() == [1, 1, 1]
    assert len(np.unique(logits, axis=0)) == 1


def test_length_sees_length_and_nothing_else():
    random = np.random.default_rng(0)
    lengths = random.integers(5, 60, 800)
    matched = ["x " * length for length in lengths]
    guessing = (matched[:400], np.arange(400) % 2, matched[400:], np.arange(400) % 2)
    # 400 test rows: the standard error of an AUROC of 0.5 is 0.029.
    assert measure_auroc("length", guessing) == pytest.approx(0.5, abs=0.09)
    is_long = (lengths > 30).astype(int)
    assert measure_auroc("length", (matched[:400], is_long[:400], matched[400:], is_long[400:])) > 0.99


def test_character_case_and_white_space_are_seen():
    train = ["one two three"] * 20 + ["one  two  three"] * 20
    data = (train, np.repeat([0, 1], 20), ["two one three", "two  one  three"] * 5, np.tile([0, 1], 5))
    assert measure_auroc("characters", data) == 1.0
    assert measure_auroc("words", data) == 0.5


@given(st.lists(st.text(max_size=30), max_size=6))
@settings(deadline=None)
def test_each_text_has_as_many_runs_as_its_length_says(texts):
    counts = count_character_ngrams(texts)
    expected = [sum(max(len(text) - size + 1, 0) for size in (2, 3, 4, 5)) for text in texts]
    assert np.asarray(counts.sum(axis=1)).ravel().tolist() == expected


def test_runs_of_characters_are_counted_as_a_naive_counter_does():
    text = "banana bandana, été 漢字漢字 🙂🙂🙂"
    naive = Counter(text[at : at + size] for size in (2, 3, 4, 5) for at in range(len(text) - size + 1))
    counts = count_character_ngrams([text])
    assert sorted(counts.data.tolist()) == sorted(naive.values())


def test_a_text_counts_the_same_whatever_stands_beside_it():
    texts = [f"text number {n}" for n in range(ROWS_PER_CHUNK + 3)]
    together = count_character_ngrams(texts)
    for row in (0, 1, ROWS_PER_CHUNK - 1, ROWS_PER_CHUNK, ROWS_PER_CHUNK + 2):
        assert (together[row] != count_character_ngrams([texts[row]])).nnz == 0


def test_an_endless_line_costs_no_more_than_what_a_model_reads():
    endless, cut = "ab cd " * 200_000, ("ab cd " * 200_000)[:MAX_CHARACTERS]
    assert (count_character_ngrams([endless]) != count_character_ngrams([cut])).nnz == 0
    assert (count_words([endless]) != count_words([cut])).nnz == 0


def test_lengths_are_characters_and_words_plain_and_as_logarithms():
    assert measure_lengths(["", "ab cd"]) == pytest.approx(
        np.array([[0, 0, 0, 0], [5, 2, np.log(6), np.log(3)]])
    )


def test_style_tells_the_same_words_by_their_marks_and_lengths():
    rng = np.random.default_rng(0)

    def write(row):
        words = rng.permutation(GREEN + RED).tolist()
        return ", ".join(words) + "." if row % 2 else " ".join(words) + " !"

    texts = [write(row) for row in range(300)]
    logits = PROBES["style"].score(texts[:200], np.arange(200) % 2, texts[200:], 2)
    assert (logits.argmax(axis=1) == np.arange(100) % 2).all()


def test_style_is_measured_as_counted_by_hand():
    text = "The cat, the CAT and a dog. It ran!\nWe didn't 12"
    found = dict(zip(FEATURE_NAMES, measure_style([text])[0].tolist(), strict=True))
    assert found["words"] == 11
    assert found["mark ,"] == 1 / len(text) and found["digits"] == 2 / len(text)
    assert found["word the"] == 2 / 11 and found["word it"] == 1 / 11
    assert found["capitals"] == 6 / len(text)
    # the cat, cat the, the cat: one pair comes twice, of ten.
    assert found["repeated pairs of words"] == 1 / 10
    assert found["different words"] == 9 / 11 and found["words used once"] == 7 / 11
    assert found["sentences"] == 3 and found["longest sentence"] == 7
    assert found["line breaks"] == 1 / len(text)


def test_style_of_nothing_and_of_very_long_lines_is_finite():
    found = measure_style(["", "\x00", "x" * 1_000_000, "שלום. " * 500])
    assert found.shape == (4, len(FEATURE_NAMES)) and np.isfinite(found).all()

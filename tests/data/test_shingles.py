"""Shingles and signatures are what they stand for: sets of word runs, and estimates of their overlap."""

from itertools import pairwise

import datasketch
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwenkit.data.minhash import (
    Permutations,
    choose_rows_per_band,
    compute_signatures,
    estimate_jaccard,
    find_recall,
    hash_bands,
    shorten,
)
from qwenkit.data.shingles import Shingles, hash_shingles, measure_jaccard

words = st.sampled_from(["a", "b", "ab", "c", "é", "aaaaaaaa", "日"])
documents = st.lists(st.lists(words, max_size=12).map(" ".join), max_size=8)


def make_sets(texts: list[str], n_words: int) -> list[set[tuple[str, ...]]]:
    splits = [text.split() for text in texts]
    return [set(zip(*(split[i:] for i in range(n_words)), strict=False)) for split in splits]


def jaccard(first: set, second: set) -> float:
    return len(first & second) / len(first | second) if first | second else 0.0


def hash_texts(texts: list[str], *, n_words: int = 2, min_words: int = 1) -> Shingles:
    return hash_shingles(pl.Series(texts, dtype=pl.String), words=n_words, min_words=min_words)


@settings(deadline=None)
@given(documents, st.integers(1, 3))
def test_measured_similarity_is_that_of_the_sets_of_word_runs(texts: list[str], n_words: int) -> None:
    sets = make_sets(texts, n_words)
    first, second = np.divmod(np.arange(len(texts) ** 2), max(len(texts), 1))
    measured = measure_jaccard(hash_texts(texts, n_words=n_words), first, second)
    expected = [jaccard(sets[i], sets[j]) for i, j in zip(first, second, strict=True)]
    # Both are quotients of the same small whole numbers.
    assert measured.tolist() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(documents)
def test_equal_texts_have_equal_hashes_wherever_they_stand(texts: list[str]) -> None:
    together = hash_texts(texts)
    for place, text in enumerate(texts):
        alone = hash_texts([text])
        assert alone.text_hashes[0] == together.text_hashes[place]
        begin, end = together.offsets[place : place + 2]
        assert alone.hashes.tolist() == together.hashes[begin:end].tolist()
    assert len(set(together.text_hashes.tolist())) == len(set(texts))


def test_short_text_has_no_shingles() -> None:
    assert hash_texts(["a b c", "a b", "a", ""], min_words=3).counts.tolist() == [2, 0, 0, 0]
    assert hash_texts(["a b c", "a b", "a", ""], n_words=3).counts.tolist() == [1, 0, 0, 0]


def test_hashes_never_change() -> None:
    shingles = hash_texts(["a b c"])
    assert shingles.hashes.tolist() == [593667758, 1704392681]
    assert Permutations.draw(2).factors.tolist() == [3270087147, 3661464323]


def make_pairs(similarity: float, n: int, *, size: int = 150) -> Shingles:
    """Make pairs of random sets, each two of (nearly) this similarity."""
    rng = np.random.default_rng(int(similarity * 100))
    shared = round(2 * size * similarity / (1 + similarity))
    drawn = rng.integers(0, 1 << 32, size=(n, 2 * size - shared), dtype=np.uint32)
    hashes = np.stack([drawn[:, :size], drawn[:, size - shared :]], axis=1).ravel()
    return Shingles(hashes, np.arange(0, len(hashes) + 1, size), np.zeros(2 * n, dtype=np.uint64))


@pytest.mark.parametrize("similarity", [0.1, 0.3, 0.5, 0.8])
def test_signatures_estimate_similarity_without_bias(similarity: float) -> None:
    n = 400
    shingles = make_pairs(similarity, n)
    first = np.arange(0, 2 * n, 2)
    real = measure_jaccard(shingles, first, first + 1).mean()
    signatures = compute_signatures(shingles, Permutations.draw(128))
    estimate = estimate_jaccard(shorten(signatures), first, first + 1)
    # Of a mean over n pairs of 128 numbers each; 4.5 standard errors fail once in 100,000 seeds.
    tolerance = 4.5 * np.sqrt(real * (1 - real) / 128 / n)
    assert estimate.mean() == pytest.approx(real, abs=tolerance)
    # Nor may single estimates scatter more than independent permutations do, give or take a fifth.
    assert estimate.std() == pytest.approx(np.sqrt(real * (1 - real) / 128), rel=0.2)


@pytest.mark.parametrize("similarity", [0.2, 0.3, 0.4, 0.5])
def test_pairs_meet_in_a_band_as_often_as_the_formula_says(similarity: float) -> None:
    n = 2000
    shingles = make_pairs(similarity, n)
    first = np.arange(0, 2 * n, 2)
    real = measure_jaccard(shingles, first, first + 1).mean()
    bands = hash_bands(compute_signatures(shingles, Permutations.draw(128)), 3)
    assert bands.shape == (42, 2 * n)
    found = (bands[:, first] == bands[:, first + 1]).any(axis=0).mean()
    expected = find_recall(real, 3, 128)
    assert found == pytest.approx(expected, abs=4.5 * np.sqrt(expected * (1 - expected) / n) + 0.005)


def test_signatures_are_as_good_as_those_of_datasketch() -> None:
    n = 100
    shingles = make_pairs(0.4, n)
    first = np.arange(0, 2 * n, 2)
    real = measure_jaccard(shingles, first, first + 1)
    oracle = []
    for begin, end in pairwise(shingles.offsets):
        minhash = datasketch.MinHash(num_perm=128, hashfunc=lambda value: int(value))
        minhash.update_batch(shingles.hashes[begin:end])
        oracle.append(minhash)
    theirs = np.array([oracle[i].jaccard(oracle[i + 1]) for i in first])
    ours = estimate_jaccard(shorten(compute_signatures(shingles, Permutations.draw(128))), first, first + 1)
    # Root mean square error; independent draws of 100 differ by a tenth or two.
    assert np.sqrt(np.mean((ours - real) ** 2)) < 1.35 * np.sqrt(np.mean((theirs - real) ** 2))


def test_signatures_do_not_depend_on_how_texts_are_cut_into_runs() -> None:
    shingles = make_pairs(0.3, 300)
    permutations = Permutations.draw(16)
    whole = compute_signatures(shingles, permutations)
    for place in (0, 1, 299, 599):
        begin, end = shingles.offsets[place : place + 2]
        alone = Shingles(shingles.hashes[begin:end], np.array([0, end - begin]), np.zeros(1, dtype=np.uint64))
        assert compute_signatures(alone, permutations)[:, 0].tolist() == whole[:, place].tolist()
        ordered = shingles.hashes[begin:end] * permutations.factors[:, None] + permutations.terms[:, None]
        assert ordered.min(axis=1).tolist() == whole[:, place].tolist()


@pytest.mark.parametrize(
    ("threshold", "rows"), [(0.2, 2), (0.3, 3), (0.5, 4), (0.7, 7), (0.8, 10), (1.0, 128)]
)
def test_bands_are_chosen_so_that_two_of_three_pairs_at_the_threshold_meet(
    threshold: float, rows: int
) -> None:
    assert choose_rows_per_band(threshold, 128) == rows
    assert find_recall(threshold, rows, 128) >= 2 / 3
    assert rows == 128 or find_recall(threshold, rows + 1, 128) < 2 / 3

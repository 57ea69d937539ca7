"""Folded texts as sets of numbers: word shingles, hashed all at once in numpy, the same on every machine."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from qwenkit.text.folding import view_bytes

_SPACE = ord(" ")
# Odd, so that it has an inverse modulo 2^64: the digits of the golden ratio.
_BASE = 0x9E3779B97F4A7C15
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)
_NEXT_WORD = np.uint64(0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True)
class Shingles:
    """The shingles of some texts, one after the other.

    Attributes:
        hashes: uint32, shape (shingles,); a shingle that occurs twice is there twice.
        offsets: int64, shape (rows + 1,): where each text's begin.
        text_hashes: uint64, shape (rows,): of each whole text. Equal ones are taken for equal texts: among 2
            million different texts the chance of one wrong pair is 1 in 10 million.
    """

    hashes: np.ndarray
    offsets: np.ndarray
    text_hashes: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Shingles of each text, shape (rows,)."""
        return np.diff(self.offsets)


def hash_shingles(folded: pl.Series, *, words: int, min_words: int) -> Shingles:
    """Hash every run of so many words.

    A text's hash is a polynomial of its bytes, so that the hash of any part of it is the difference of two
    running sums; no loop over words is needed.

    Args:
        folded: What `fold_for_comparison` gives: words between single spaces.
        words: Words of a shingle.
        min_words: A text with fewer has no shingles.
    """
    content, offsets = view_bytes(folded)
    sums = np.zeros(len(content) + 1, dtype=np.uint64)
    np.cumsum(_byte_codes()[content] * _powers(len(content) + 1)[:-1], out=sums[1:])
    inverses = _inverse_powers(len(content) + 1)

    def hash_parts(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return _mix((sums[ends] - sums[starts]) * inverses[starts])

    spaces = np.flatnonzero(content == _SPACE)
    holds_words = np.diff(offsets) > 0
    # Both lists are sorted, and so is what they are merged into.
    starts = np.sort(np.concatenate([offsets[:-1][holds_words], spaces + 1]), kind="stable")
    ends = np.sort(np.concatenate([spaces, offsets[1:][holds_words]]), kind="stable")
    first_words = np.searchsorted(starts, offsets)
    word_counts = np.diff(first_words)
    shingle_counts = np.where(word_counts >= max(words, min_words), word_counts - words + 1, 0)
    at = _expand(first_words[:-1], shingle_counts)
    word_hashes = hash_parts(starts, ends)
    hashes = word_hashes[at]
    for distance in range(1, words):
        hashes = _mix(hashes * _NEXT_WORD + word_hashes[at + distance])
    return Shingles(
        hashes=(hashes >> np.uint64(32)).astype(np.uint32),
        offsets=np.concatenate([[0], np.cumsum(shingle_counts)]),
        text_hashes=hash_parts(offsets[:-1], offsets[1:]) ^ np.diff(offsets).astype(np.uint64),
    )


def measure_jaccard(shingles: Shingles, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute the share of shingles that two texts have in common, as sets, for many pairs.

    Args:
        first, second: Places of the texts, shape (pairs,).

    Returns:
        float64, shape (pairs,); 0 where neither text has a shingle.
    """
    counts = shingles.counts
    pair_ids = np.concatenate([np.repeat(np.arange(len(each)), counts[each]) for each in (first, second)])
    places = np.concatenate([_expand(shingles.offsets[each], counts[each]) for each in (first, second)])
    keys = (pair_ids.astype(np.uint64) << np.uint64(32)) | shingles.hashes[places]
    n_first = int(counts[first].sum())
    sets = [_sorted_unique(keys[:n_first]), _sorted_unique(keys[n_first:])]
    merged = np.sort(np.concatenate(sets))
    shared = merged[1:][merged[1:] == merged[:-1]]
    sizes, shared_sizes = (
        np.bincount((each >> np.uint64(32)).astype(np.int64), minlength=len(first))
        for each in (merged, shared)
    )
    return shared_sizes / np.maximum(sizes - shared_sizes, 1)


def _expand(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """List start, start + 1, ... for every start, count of them."""
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.arange(counts.sum()) + np.repeat(starts - before, counts)


def _sorted_unique(keys: np.ndarray) -> np.ndarray:
    ordered = np.sort(keys)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def _mix(hashes: np.ndarray) -> np.ndarray:
    """Spread every bit over all others (the finalizer of splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


@cache
def _byte_codes() -> np.ndarray:
    """Give every byte a code of 64 bits: alike bytes must not have alike codes."""
    return _mix((np.arange(256, dtype=np.uint64) + np.uint64(1)) * np.uint64(_BASE))


def _powers(n: int) -> np.ndarray:
    return _power_table(_BASE, _round_up(n))[:n]


def _inverse_powers(n: int) -> np.ndarray:
    return _power_table(_BASE_INVERSE, _round_up(n))[:n]


def _round_up(n: int) -> int:
    return 1 << max(n - 1, 1).bit_length()


@cache
def _power_table(base: int, n: int) -> np.ndarray:
    """List base^0, base^1, ... modulo 2^64, n of them."""
    factors = np.full(n, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)

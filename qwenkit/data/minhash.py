"""MinHash: a short signature of each text, in which texts that share shingles share numbers."""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from qwenkit.data.shingles import Shingles

# So many shingles at a time stay in a core's own cache while all permutations pass over them.
_SHINGLES_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Permutations:
    """Random orders of all 32-bit numbers: x -> factor * x + term modulo 2^32, with odd factors."""

    factors: np.ndarray
    terms: np.ndarray

    @classmethod
    def draw(cls, n: int) -> "Permutations":
        """Draw so many, always the same ones."""
        # Philox by its key alone: default_rng may choose another generator in a later numpy.
        bits = np.random.Philox(key=20231).random_raw(2 * n).astype(np.uint64)
        numbers = (bits >> np.uint64(32)).astype(np.uint32)
        return cls(factors=numbers[:n] | np.uint32(1), terms=numbers[n:])

    def __len__(self) -> int:
        return len(self.factors)


def choose_rows_per_band(threshold: float, permutations: int) -> int:
    """Choose how many numbers make a band: the most with which 2 of 3 pairs at the threshold share one."""
    rows = 1
    while rows < permutations and find_recall(threshold, rows + 1, permutations) >= 2 / 3:
        rows += 1
    return rows


def find_recall(similarity: float, rows: int, permutations: int) -> float:
    """Give the chance that two texts of this Jaccard similarity share at least one band."""
    return 1 - (1 - similarity**rows) ** (permutations // rows)


def compute_signatures(shingles: Shingles, permutations: Permutations) -> np.ndarray:
    """Find the smallest shingle of each text in every order.

    Returns:
        uint32, shape (permutations, rows); the largest number throughout for a text without shingles.
    """
    counts = shingles.counts
    signatures = np.full((len(permutations), len(counts)), 0xFFFFFFFF, dtype=np.uint32)
    texts = np.flatnonzero(counts)
    starts = shingles.offsets[:-1][texts]
    cuts = np.searchsorted(starts, np.arange(_SHINGLES_AT_ONCE, len(shingles.hashes), _SHINGLES_AT_ONCE))
    borders = np.unique(np.concatenate([[0], cuts, [len(texts)]]))
    for begin, end in pairwise(borders.tolist()):
        stop = starts[end] if end < len(starts) else len(shingles.hashes)
        hashes = shingles.hashes[starts[begin] : stop]
        places = starts[begin:end] - starts[begin]
        ordered = np.empty_like(hashes)
        for row, (factor, term) in enumerate(zip(permutations.factors, permutations.terms, strict=True)):
            np.multiply(hashes, factor, out=ordered)
            np.add(ordered, term, out=ordered)
            signatures[row, texts[begin:end]] = np.minimum.reduceat(ordered, places)
    return signatures


def hash_bands(signatures: np.ndarray, rows_per_band: int) -> np.ndarray:
    """Reduce each band of signatures to one number: texts that agree in it are candidates.

    Returns:
        uint32, shape (bands, rows). Two different bands are one number in 1 of 4 billion cases.
    """
    n_bands = len(signatures) // rows_per_band
    bands = signatures[: n_bands * rows_per_band].reshape(n_bands, rows_per_band, -1)
    keys = np.zeros((n_bands, bands.shape[2]), dtype=np.uint64)
    for row in range(rows_per_band):
        keys = (keys ^ bands[:, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return (keys >> np.uint64(32)).astype(np.uint32)


def shorten(signatures: np.ndarray) -> np.ndarray:
    """Keep eight bits of every number: enough to estimate a similarity from, a quarter of the memory.

    Returns:
        uint8, shape (rows, permutations), contiguous by text.
    """
    return np.ascontiguousarray((signatures & np.uint32(0xFF)).astype(np.uint8).T)


def estimate_jaccard(short: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Estimate the similarity of many pairs from what `shorten` left, float64, shape (pairs,)."""
    agreeing = (short[first] == short[second]).mean(axis=1)
    by_chance = 1 / 256
    return (agreeing - by_chance) / (1 - by_chance)


def lowest_estimate(threshold: float, permutations: int) -> float:
    """Say below which estimate a pair need not be verified: four standard errors under the threshold."""
    return threshold - 4 * sqrt(threshold * (1 - threshold) / permutations)

"""Which texts are copies of each other, changed or not: MinHash finds candidates, real Jaccard decides.

Every text is read twice at most, in chunks; what is kept of each is 300 bytes, whatever its length.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl

from qwenkit.data.components import join_labels
from qwenkit.data.minhash import (
    Permutations,
    choose_rows_per_band,
    compute_signatures,
    estimate_jaccard,
    hash_bands,
    lowest_estimate,
    shorten,
)
from qwenkit.data.shingles import Shingles, hash_shingles, measure_jaccard
from qwenkit.text.folding import fold_for_comparison, slice_by_size

# A text of fewer words is grouped with its exact copies (after folding) alone: two in common is chance there.
MIN_WORDS = 10

# Of texts that share a band, each is compared with so many after it. Larger crowds still grow together, from
# one band to the next, without the square of their size in comparisons.
NEIGHBOURS = 16

_CHUNK_BYTES = 1 << 20
_LONGEST_TEXT = 1 << 20
_ESTIMATED_AT_ONCE = 1 << 15


Run = Callable[[Callable[[slice], None], Iterable[slice]], object]


@dataclass(frozen=True)
class NearDuplicateRule:
    """When two texts count as copies.

    Attributes:
        threshold: Jaccard similarity of their sets of shingles, from which on they do.
        shingle_words: Words of a shingle.
        permutations: Numbers of a signature: more find more of the pairs just above the threshold.
    """

    threshold: float
    shingle_words: int
    permutations: int


def find_clusters(texts: pl.Series, rule: NearDuplicateRule, *, workers: int | None = None) -> np.ndarray:
    """Put texts together that are the same or nearly so, and those that such a chain of pairs links.

    Two texts are joined if they are equal once folded, or if both have ten words and their Jaccard
    similarity reaches the threshold. No pair is joined on an estimate. A similar pair is missed if its
    signatures share no band: with b bands of r numbers it is found with probability 1 - (1 - J^r)^b. At the
    defaults (threshold 0.3, 128 permutations: 42 bands of 3) that is

        J       0.30   0.35   0.40   0.45   0.50   0.60   0.70
        found   0.68   0.84   0.94   0.98   0.996  1.000  1.000

    and families of copies link each other where one pair is missed. What is found depends neither on the
    order of the texts nor on the number of workers.

    Args:
        texts: Without nulls, shape (rows,).
        workers: Threads; None is one a core.

    Returns:
        int64, shape (rows,): for each text the place of the first one of its cluster.
    """
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        # list() waits, and raises what a worker raised.
        return _Clustering(texts, rule, lambda work, parts: list(pool.map(work, parts))).find()


class _Clustering:
    """The state of one search: what is known of each text, and which are joined so far."""

    def __init__(self, texts: pl.Series, rule: NearDuplicateRule, run: Run) -> None:
        self._texts = texts
        self._rule = rule
        self._run = run
        self._sizes = texts.str.len_bytes().cast(pl.Int64).to_numpy()
        self._rows_per_band = choose_rows_per_band(rule.threshold, rule.permutations)
        self._labels = np.arange(len(texts))
        self._rejected = np.empty(0, dtype=np.uint64)

    def find(self) -> np.ndarray:
        self._read()
        # By content, not by place: which of a crowd are compared must not depend on the order of the rows.
        order = np.argsort(self._text_hashes, kind="stable")
        ordered = self._text_hashes[order]
        is_same = (ordered[1:] == ordered[:-1]) & self._has_words[order[1:]]
        self._join(order[:-1][is_same], order[1:][is_same])
        is_first = np.concatenate([[True], ~is_same]) if len(order) else np.empty(0, dtype=bool)
        self._candidates = order[is_first & self._has_shingles[order]]
        for keys in self._bands:
            # Neighbours first: what they join need not be compared any more.
            for pairs in self._list_pairs(keys):
                self._join(*self._verify(*pairs))
        return self._labels

    def _read(self) -> None:
        """Sign every text, chunk by chunk."""
        n, permutations = len(self._texts), Permutations.draw(self._rule.permutations)
        n_bands = len(permutations) // self._rows_per_band
        self._bands = np.empty((n_bands, n), dtype=np.uint32)
        self._short = np.empty((n, len(permutations)), dtype=np.uint8)
        self._text_hashes = np.empty(n, dtype=np.uint64)
        self._has_shingles = np.empty(n, dtype=bool)
        self._has_words = np.empty(n, dtype=bool)

        def sign(rows: slice) -> None:
            folded = _fold(self._texts[rows])
            shingles = self._hash(folded)
            signatures = compute_signatures(shingles, permutations)
            self._bands[:, rows] = hash_bands(signatures, self._rows_per_band)
            self._short[rows] = shorten(signatures)
            self._text_hashes[rows] = shingles.text_hashes
            self._has_shingles[rows] = shingles.counts > 0
            self._has_words[rows] = (folded.str.len_bytes() > 0).to_numpy()

        self._run(sign, slice_by_size(self._sizes, _CHUNK_BYTES))

    def _hash(self, folded: pl.Series) -> Shingles:
        return hash_shingles(folded, words=self._rule.shingle_words, min_words=MIN_WORDS)

    def _list_pairs(self, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """List the candidates that one band gives: texts beside each other, then those further apart."""
        ranks = np.arange(len(self._candidates), dtype=np.uint64)
        ordered = np.sort((keys[self._candidates].astype(np.uint64) << np.uint64(32)) | ranks)
        crowd = self._candidates[(ordered & np.uint64(0xFFFFFFFF)).astype(np.int64)]
        keys = ordered >> np.uint64(32)
        at = np.flatnonzero(keys[1:] == keys[:-1])
        yield crowd[at], crowd[at + 1]
        first, second = [], []
        for distance in range(2, NEIGHBOURS + 1):
            at = at[at + distance < len(keys)]
            at = at[keys[at] == keys[at + distance]]
            if not len(at):
                break
            first.append(crowd[at])
            second.append(crowd[at + distance])
        if first:
            yield np.concatenate(first), np.concatenate(second)

    def _verify(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keep the pairs that are not joined yet and really are similar."""
        is_open = self._labels[first] != self._labels[second]
        first, second = first[is_open], second[is_open]
        is_likely = self._estimate(first, second)
        first, second = first[is_likely], second[is_likely]
        pairs = np.minimum(first, second).astype(np.uint64) << np.uint64(32)
        pairs = np.setdiff1d(pairs | np.maximum(first, second).astype(np.uint64), self._rejected)
        first, second = (
            (pairs >> np.uint64(32)).astype(np.int64),
            (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64),
        )
        is_similar = np.zeros(len(pairs), dtype=bool)

        def measure(part: slice) -> None:
            rows, places = np.unique(np.concatenate([first[part], second[part]]), return_inverse=True)
            shingles = self._hash(_fold(self._texts.gather(rows)))
            similarity = measure_jaccard(shingles, *np.split(places, 2))
            is_similar[part] = similarity >= self._rule.threshold

        sizes = self._sizes[first] + self._sizes[second]
        self._run(measure, slice_by_size(sizes, _CHUNK_BYTES))
        self._rejected = np.union1d(self._rejected, pairs[~is_similar])
        return first[is_similar], second[is_similar]

    def _estimate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Find the pairs whose signatures leave it possible that they are similar."""
        lowest = lowest_estimate(self._rule.threshold, self._rule.permutations)
        is_likely = np.empty(len(first), dtype=bool)

        def estimate(part: slice) -> None:
            is_likely[part] = estimate_jaccard(self._short, first[part], second[part]) >= lowest

        starts = range(0, len(first), _ESTIMATED_AT_ONCE)
        self._run(estimate, [slice(start, start + _ESTIMATED_AT_ONCE) for start in starts])
        return is_likely

    def _join(self, first: np.ndarray, second: np.ndarray) -> None:
        self._labels = join_labels(self._labels, first, second)


def _fold(texts: pl.Series) -> pl.Series:
    # One gigantic text must not decide how much memory all of this takes.
    is_long = texts.str.len_bytes() > _LONGEST_TEXT
    return fold_for_comparison(texts.str.head(_LONGEST_TEXT) if is_long.any() else texts)

"""Boilerplate: runs of words that many texts of one class share and few of the others have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from qwenkit.text.traits import judge_by_traits

# Long enough to be no grammar; the longest are looked for first, as the shorter ones lie inside them.
PHRASE_WORDS = (6, 3)
MAX_WORDS = 300
MOST_PHRASES = 50
# A phrase counts from this share of a class on, if it is this many times as frequent there as elsewhere.
LEAST_SHARE = 0.01
LEAST_UNITS = 8
LEAST_RATIO = 5.0
# Odd multiplier of the splitmix generator: mixes modulo 2^64.
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A run of words that is over-represented in one class.

    Attributes:
        text: The words in small letters, one space between.
        label_id: The class that has it.
        share, share_elsewhere: Of that class's units (groups of rows) and of all others'.
        key: Identifies it within one PhraseIndex.
        rows: Those that hold it, in order.
    """

    text: str
    label_id: int
    share: float
    share_elsewhere: float
    key: int
    rows: np.ndarray


class PhraseIndex:
    """All runs of words of some texts, each once a text: row numbers and keys side by side."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Cut texts into words and marks, in small letters, and number every run of PHRASE_WORDS of them."""
        column = pl.Series(texts, dtype=pl.String).str.to_lowercase()
        words = column.str.extract_all(r"\w+|[^\w\s]").list.head(MAX_WORDS)
        counts = words.list.len().to_numpy()
        flat = words.explode(empty_as_null=False) if counts.sum() else pl.Series([], dtype=pl.String)
        self.words = flat.drop_nulls()
        # Numbered by their place in the vocabulary: a Categorical's numbers depend on what ran before.
        vocabulary = pl.Enum(self.words.unique().sort())
        word_ids = self.words.cast(vocabulary).to_physical().to_numpy().astype(np.uint64)
        row_of = np.repeat(np.arange(len(texts)), counts)
        self.size = len(texts)
        self._runs = {size: _number_runs(word_ids, row_of, size) for size in PHRASE_WORDS}

    def find(
        self, label_ids: np.ndarray, units: np.ndarray, *, n_classes: int, among: np.ndarray
    ) -> list[Phrase]:
        """Find what is over-represented in one class, the most telling first.

        Args:
            label_ids: Shape (rows,).
            units: Group of each row: a text that stands there ten times, cut differently, counts once.
            among: Rows to learn from, as booleans, shape (rows,).
        """
        found: list[Phrase] = []
        for size in PHRASE_WORDS:
            for phrase in self._find_size(size, label_ids, units, n_classes, among):
                if not any(_is_part(phrase, longer) for longer in found):
                    found.append(phrase)
        found.sort(key=lambda phrase: phrase.share_elsewhere - phrase.share)
        return found[:MOST_PHRASES]

    def mark(self, phrases: Sequence[Phrase]) -> np.ndarray:
        """Tell which row has which phrase, as 0 and 1, shape (rows, phrases)."""
        marks = np.zeros((self.size, max(len(phrases), 1)))
        for column, phrase in enumerate(phrases):
            marks[phrase.rows, column] = 1
        return marks

    def _find_size(
        self, size: int, label_ids: np.ndarray, units: np.ndarray, n_classes: int, among: np.ndarray
    ) -> list[Phrase]:
        rows, keys, starts = self._runs[size]
        is_learned = among[rows]
        # Whatever stands in few texts of all is no boilerplate of any class.
        frequent, inverse, occurrences = np.unique(keys[is_learned], return_inverse=True, return_counts=True)
        is_candidate = occurrences >= LEAST_UNITS
        kept = is_candidate[inverse]
        numbers = (np.cumsum(is_candidate) - 1)[inverse[kept]]
        frequent = frequent[is_candidate]
        learned_rows = rows[is_learned][kept]
        shares = np.zeros((n_classes, len(frequent)))
        sizes = np.zeros(n_classes)
        seen = np.zeros((n_classes, len(frequent)))
        for label_id in range(n_classes):
            is_class = label_ids[learned_rows] == label_id
            pairs = np.unique(np.stack([units[learned_rows[is_class]], numbers[is_class]], axis=1), axis=0)
            seen[label_id] = np.bincount(pairs[:, 1].astype(np.int64), minlength=len(frequent))
            sizes[label_id] = max(len(np.unique(units[among & (label_ids == label_id)])), 1)
            shares[label_id] = seen[label_id] / sizes[label_id]
        return [
            self._describe(size, int(frequent[number]), label_id, shares[:, number], starts)
            for number, label_id in _choose(seen, sizes)
        ]

    def _describe(self, size: int, key: int, label_id: int, shares: np.ndarray, starts: np.ndarray) -> Phrase:
        rows, keys, _ = self._runs[size]
        places = np.flatnonzero(keys == np.uint64(key))
        start = int(starts[places[0]])
        return Phrase(
            text=" ".join(self.words[start : start + size].to_list()),
            label_id=label_id,
            share=float(shares[label_id]),
            share_elsewhere=float(np.delete(shares, label_id).max(initial=0.0)),
            key=key,
            rows=np.sort(rows[places]),
        )


def score_phrases(
    index: PhraseIndex,
    label_ids: np.ndarray,
    units: np.ndarray,
    *,
    n_classes: int,
    is_test: np.ndarray,
) -> np.ndarray:
    """Score the test rows by the phrases found in the others, shape (test rows, classes)."""
    phrases = index.find(label_ids, units, n_classes=n_classes, among=~is_test)
    marks = index.mark(phrases)
    return judge_by_traits(marks[~is_test], label_ids[~is_test], marks[is_test], n_classes)


def _number_runs(
    word_ids: np.ndarray, row_of: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give row, key and place of the first word of every run, each run once a row."""
    if len(word_ids) < size:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty.astype(np.uint64), empty
    keys = word_ids[: len(word_ids) - size + 1].copy()
    for offset in range(1, size):
        keys = keys * _MIX + word_ids[offset : len(word_ids) - size + 1 + offset]
    rows = row_of[: len(keys)]
    starts = np.flatnonzero(rows == row_of[size - 1 :])
    rows, keys = rows[starts], keys[starts]
    # One sort of row and key mixed into one number; of equal ones `unique` gives the first.
    _, firsts = np.unique(keys * _MIX + rows.astype(np.uint64), return_index=True)
    firsts.sort()
    return rows[firsts], keys[firsts], starts[firsts]


def _choose(seen: np.ndarray, sizes: np.ndarray) -> list[tuple[int, int]]:
    """Give (phrase, class) where one class has it far more often than the next; shape (classes, phrases)."""
    if not seen.shape[1]:
        return []
    # One unit more on each side, so that a phrase never seen elsewhere has a ratio at all.
    smoothed = (seen + 1) / (sizes[:, None] + 1)
    best = smoothed.argmax(axis=0)
    columns = np.arange(seen.shape[1])
    top = smoothed[best, columns]
    others = smoothed.copy()
    others[best, columns] = 0
    is_telling = (seen[best, columns] >= np.maximum(LEAST_UNITS, LEAST_SHARE * sizes[best])) & (
        top >= LEAST_RATIO * others.max(axis=0)
    )
    order = np.argsort(-(top - others.max(axis=0)), kind="stable")
    return [(int(column), int(best[column])) for column in order if is_telling[column]][:MOST_PHRASES]


def _is_part(phrase: Phrase, longer: Phrase) -> bool:
    """Tell whether a phrase is a longer one again: inside it, and hardly anywhere else."""
    return phrase.text in longer.text and len(longer.rows) >= 0.8 * len(phrase.rows)

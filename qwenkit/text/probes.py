"""Shallow classifiers of text: what can be told without any language model.

The audit asks them what gives a class away; evaluation asks whether the model beats them. Each is an entry of
PROBES, learns from the training texts alone, and is deterministic.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from qwenkit.text.stylometry import measure_style

CHARACTER_SIZES = (2, 3, 4, 5)
HASH_BITS = 18
# A model reads at most some 384 tokens, about this many characters; no probe needs to read more.
MAX_CHARACTERS = 2_000
ROWS_PER_CHUNK = 512
# Logit of a class that the training rows never had, below the lowest one of the others.
ABSENT_CLASS_MARGIN = 50.0

Featurize = Callable[[Sequence[str]], sparse.csr_matrix]
Score = Callable[[Sequence[str], np.ndarray, Sequence[str], int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One shallow classifier: its name for people, what it looks at, and how it scores."""

    title: str
    looks_at: str
    score: Score
    """(train_texts, train_label_ids, test_texts, n_classes) -> logits of the test texts, (rows, classes)."""


def score_majority(
    train_texts: Sequence[str], train_label_ids: np.ndarray, test_texts: Sequence[str], n_classes: int
) -> np.ndarray:
    """Answer the training rows' most frequent class for every text."""
    counts = np.bincount(train_label_ids, minlength=n_classes)
    # One row more of each class: one that never occurred keeps a finite logit.
    return np.tile(np.log((counts + 1) / (counts.sum() + n_classes)), (len(test_texts), 1))


def score_length(
    train_texts: Sequence[str], train_label_ids: np.ndarray, test_texts: Sequence[str], n_classes: int
) -> np.ndarray:
    """Judge by the number of characters and words alone, with logistic regression."""
    if len(np.unique(train_label_ids)) < 2:
        return score_majority(train_texts, train_label_ids, test_texts, n_classes)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    classifier.fit(measure_lengths(train_texts), train_label_ids)
    scores = classifier.decision_function(measure_lengths(test_texts))
    return _spread_over_classes(scores, classifier.classes_, n_classes)


def score_words(
    train_texts: Sequence[str], train_label_ids: np.ndarray, test_texts: Sequence[str], n_classes: int
) -> np.ndarray:
    """Judge by which words occur: TF-IDF and logistic regression."""
    return _score_tfidf(count_words, train_texts, train_label_ids, test_texts, n_classes)


def score_characters(
    train_texts: Sequence[str], train_label_ids: np.ndarray, test_texts: Sequence[str], n_classes: int
) -> np.ndarray:
    """Judge by which runs of 2 to 5 characters occur: TF-IDF and logistic regression."""
    return _score_tfidf(count_character_ngrams, train_texts, train_label_ids, test_texts, n_classes)


def score_style(
    train_texts: Sequence[str], train_label_ids: np.ndarray, test_texts: Sequence[str], n_classes: int
) -> np.ndarray:
    """Judge by how a text is written (marks, function words, lengths) with gradient-boosted trees."""
    if len(np.unique(train_label_ids)) < 2:
        return score_majority(train_texts, train_label_ids, test_texts, n_classes)
    classifier = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.1, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    classifier.fit(measure_style(train_texts), train_label_ids)
    scores = classifier.decision_function(measure_style(test_texts))
    return _spread_over_classes(scores, classifier.classes_, n_classes)


PROBES: dict[str, Probe] = {
    "majority": Probe(title="Majority class", looks_at="nothing", score=score_majority),
    "length": Probe(title="Length only", looks_at="the number of characters and words", score=score_length),
    "words": Probe(title="Word TF-IDF", looks_at="which words occur", score=score_words),
    "characters": Probe(
        title="Characters 2–5 TF-IDF",
        looks_at="which runs of 2 to 5 characters occur, white space included",
        score=score_characters,
    ),
    "style": Probe(
        title="Stylometry, boosted trees",
        looks_at="marks, function words and the lengths of words and sentences",
        score=score_style,
    ),
}


def measure_lengths(texts: Sequence[str]) -> np.ndarray:
    """Count characters and white-space separated words, plain and as logarithms, shape (rows, 4)."""
    counts = np.array([[len(text), len(text.split())] for text in texts], dtype=np.float64).reshape(-1, 2)
    return np.hstack([counts, np.log1p(counts)])


def count_words(texts: Sequence[str]) -> sparse.csr_matrix:
    """Count lower-case words, hashed into columns (so no text is without a vocabulary)."""
    counter = HashingVectorizer(
        n_features=2**HASH_BITS, token_pattern=r"\w+", alternate_sign=False, norm=None, dtype=np.float32
    )
    return counter.transform(text[:MAX_CHARACTERS] for text in texts)


def count_character_ngrams(texts: Sequence[str]) -> sparse.csr_matrix:
    """Count runs of 2 to 5 characters as they stand (case and white space kept), hashed into columns.

    scikit-learn's counter cuts every run out as a Python string; rolling hashes over whole arrays are several
    times faster, which is what lets this baseline run in every evaluation.
    """
    if not len(texts):
        return sparse.csr_matrix((0, 2**HASH_BITS), dtype=np.float32)
    starts = range(0, len(texts), ROWS_PER_CHUNK)
    return sparse.vstack(
        [_count_chunk(texts[start : start + ROWS_PER_CHUNK]) for start in starts], format="csr"
    )


def _count_chunk(texts: Sequence[str]) -> sparse.csr_matrix:
    points = [np.frombuffer(text[:MAX_CHARACTERS].encode("utf-32-le"), dtype=np.uint32) for text in texts]
    row_of = np.repeat(np.arange(len(texts), dtype=np.int32), [len(one) for one in points])
    characters = np.concatenate(points).astype(np.uint64)
    rows, columns = [], []
    hashes = characters
    for size in range(2, CHARACTER_SIZES[-1] + 1):
        # Odd multipliers (of the splitmix generator) mix modulo 2^64; the top bits depend on every character.
        hashes = hashes[:-1] * np.uint64(0x9E3779B97F4A7C15) + characters[size - 1 :]
        is_inside_one_text = row_of[: len(hashes)] == row_of[size - 1 :]
        mixed = hashes[is_inside_one_text] * np.uint64(0xBF58476D1CE4E5B9)
        columns.append((mixed >> np.uint64(64 - HASH_BITS)).astype(np.int32))
        rows.append(row_of[: len(hashes)][is_inside_one_text])
    coordinates = (np.concatenate(rows), np.concatenate(columns))
    ones = np.ones(len(coordinates[0]), dtype=np.float32)
    counts = sparse.csr_matrix((ones, coordinates), shape=(len(texts), 2**HASH_BITS))
    counts.sum_duplicates()
    return counts


def _score_tfidf(
    count: Featurize,
    train_texts: Sequence[str],
    train_label_ids: np.ndarray,
    test_texts: Sequence[str],
    n_classes: int,
) -> np.ndarray:
    if len(np.unique(train_label_ids)) < 2:
        return score_majority(train_texts, train_label_ids, test_texts, n_classes)
    counts = count(train_texts)
    weighting = TfidfTransformer(sublinear_tf=True).fit(counts)
    classifier = LogisticRegression(C=10.0, max_iter=300)
    with warnings.catch_warnings():
        # The last digits of a baseline are not worth the iterations.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(weighting.transform(counts, copy=False), train_label_ids)
    # Test texts go in chunks: a big split never stands in memory as one matrix.
    chunks = [
        test_texts[start : start + ROWS_PER_CHUNK] for start in range(0, len(test_texts), ROWS_PER_CHUNK)
    ]
    scores = [classifier.decision_function(weighting.transform(count(chunk), copy=False)) for chunk in chunks]
    return _spread_over_classes(np.concatenate(scores), classifier.classes_, n_classes)


def _spread_over_classes(scores: np.ndarray, known_ids: np.ndarray, n_classes: int) -> np.ndarray:
    """Put scores into one column a class; for two classes scikit-learn gives a single column."""
    scores = scores.astype(np.float64)
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    logits = np.repeat(scores.min(axis=1, keepdims=True) - ABSENT_CLASS_MARGIN, n_classes, axis=1)
    logits[:, known_ids] = scores
    return logits

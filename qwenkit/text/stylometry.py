"""How a text is written rather than what it says: rates of marks, words and lengths, as plain numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

# A model reads about so many characters; style needs no more.
MAX_CHARACTERS = 2_000
MARKS = ",.;:!?'\"()-–—…*#_/`“”’"
_COMMON = """
the of and to a in that is was it for on with as he be at by this had not are but from or have an
they which one you were her all she there would their we him been has when who will more no if out
so what up its about into than them can only other some could these two may then do any my now such
like our over also however while although moreover furthermore therefore
"""
FUNCTION_WORDS = tuple(_COMMON.split())
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
SENTENCE_END = re.compile(r"[.!?…]+(?:\s|$)|\n+")

FEATURE_NAMES = (
    *(f"mark {mark}" for mark in MARKS),
    *(f"word {word}" for word in FUNCTION_WORDS),
    "letters",
    "capitals",
    "digits",
    "white space",
    "line breaks",
    "not ascii",
    "words",
    "mean word length",
    "spread of word length",
    "long words",
    "different words",
    "words used once",
    "repeated pairs of words",
    "sentences",
    "mean sentence length",
    "spread of sentence length",
    "longest sentence",
)


def measure_style(texts: Sequence[str]) -> np.ndarray:
    """Measure the features of FEATURE_NAMES, float64, shape (rows, features)."""
    return np.array([_measure_one(text[:MAX_CHARACTERS]) for text in texts], dtype=np.float64).reshape(
        -1, len(FEATURE_NAMES)
    )


def _measure_one(text: str) -> list[float]:
    n_characters = max(len(text), 1)
    characters = Counter(text)
    words = [word.lower() for word in WORD.findall(text)]
    counts = Counter(words)
    n_words = max(len(words), 1)
    kinds = [
        sum(map(str.isalpha, text)),
        sum(map(str.isupper, text)),
        sum(map(str.isdigit, text)),
        sum(map(str.isspace, text)),
        characters["\n"],
        sum(not char.isascii() for char in text),
    ]
    return [
        *(characters[mark] / n_characters for mark in MARKS),
        *(counts[word] / n_words for word in FUNCTION_WORDS),
        *(kind / n_characters for kind in kinds),
        *_measure_words(words, counts),
        *_measure_sentences(text),
    ]


def _measure_words(words: list[str], counts: Counter[str]) -> list[float]:
    lengths = np.array([len(word) for word in words] or [0])
    pairs = Counter(pairwise(words))
    n_words, n_pairs = max(len(words), 1), max(len(words) - 1, 1)
    return [
        float(len(words)),
        float(lengths.mean()),
        float(lengths.std()),
        float((lengths > 6).mean()),
        len(counts) / n_words,
        sum(count == 1 for count in counts.values()) / n_words,
        sum(count - 1 for count in pairs.values()) / n_pairs,
    ]


def _measure_sentences(text: str) -> list[float]:
    lengths = [len(part.split()) for part in SENTENCE_END.split(text)]
    lengths = [length for length in lengths if length] or [0]
    return [
        float(len(lengths)),
        float(np.mean(lengths)),
        float(np.std(lengths)),
        float(max(lengths)),
    ]

"""Synthetic documents, and copies of them changed as RAID's attacks change a text. Small and seeded."""

import random
from collections.abc import Callable, Sequence

import numpy as np

Attack = Callable[[str, random.Random], str]

# Nouns are many and function words few, so that unrelated documents share what they share in English.
FUNCTION_WORDS = (
    *(
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "it",
        "that",
        "was",
        "for",
        "on",
        "with",
        "as",
        "his",
        "at",
        "be",
    ),
    *("this", "from", "have", "or", "by", "one", "had"),
)


def make_words(n: int, rng: np.random.Generator) -> list[str]:
    """Make up so many different words of three to nine letters."""
    letters = np.array(list("aeioubcdfghklmnprstvw"))
    words = dict.fromkeys(FUNCTION_WORDS)
    while len(words) < n:
        words["".join(rng.choice(letters, size=int(rng.integers(3, 10))))] = None
    return list(words)


def make_documents(n: int, *, seed: int = 0, n_words: int = 120, vocabulary: int = 5000) -> list[str]:
    """Write unrelated documents: words drawn by Zipf's law, a full stop now and then.

    Args:
        n_words: In the mean; each document has half to one and a half times as many.
        vocabulary: Different words in all.
    """
    rng = np.random.default_rng(seed)
    words = np.array(make_words(vocabulary, rng))
    chances = 1 / np.arange(3, vocabulary + 3)
    sums = np.cumsum(chances / chances.sum())
    documents = []
    for _ in range(n):
        length = int(rng.integers(n_words // 2, n_words * 3 // 2))
        drawn = words[np.searchsorted(sums, rng.random(length))]
        marks = np.where(rng.random(length) < 0.08, ".", "")
        documents.append(" ".join(np.char.add(drawn, marks)).capitalize())
    return documents


def replace_words(text: str, dice: random.Random, *, share: float) -> str:
    """Put another word in the place of this share of words, as a misspelling or a synonym does."""
    return " ".join(word[::-1] + "q" if dice.random() < share else word for word in text.split())


def insert_paragraphs(text: str, dice: random.Random) -> str:
    return "".join(char + "\n\n" * (char == "." and dice.random() < 0.5) for char in text)


def upper_lower(text: str, dice: random.Random) -> str:
    return " ".join(word.swapcase() if dice.random() < 0.05 else word for word in text.split())


def white_space(text: str, dice: random.Random) -> str:
    return "".join(char * (1 + (char == " " and dice.random() < 0.2)) for char in text)


def drop_articles(text: str, dice: random.Random) -> str:
    return " ".join(word for word in text.split() if word not in ("the", "one") or dice.random() < 0.5)


ATTACKS: dict[str, Attack] = {
    "homoglyph": lambda text, _: text.translate(str.maketrans("aceiopxyABCEHKMOPTX", "асеіорхуАВСЕНКМОРТХ")),
    "zero-width space": lambda text, _: "\u200b".join(text),
    "white space": white_space,
    "upper-lower": upper_lower,
    "insert paragraphs": insert_paragraphs,
    "article deletion": drop_articles,
    "misspelling": lambda text, dice: replace_words(text, dice, share=0.2),
    "synonym, a quarter": lambda text, dice: replace_words(text, dice, share=0.25),
}


def attack_all(texts: Sequence[str], attack: Attack, *, seed: int = 0) -> list[str]:
    """Change every text, each with dice of its own."""
    return [attack(text, random.Random(f"{seed} {place}")) for place, text in enumerate(texts)]

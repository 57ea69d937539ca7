"""Attacks on a text: small changes that a reader hardly minds and a detector may not survive.

The eight of RAID that need no language model, at RAID's rates (Dugan et al., ACL 2024), and two that stand in
for originals which do; these are called approximate. Written anew from the paper and the definitions in
github.com/liamdugan/raid; where RAID takes words and sentences from NLTK, plain patterns find them here.
A rate is the share of places that are changed, rounded down, as in RAID.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from random import Random
from typing import TypeVar

from qwenkit.text.homoglyphs import TWINS
from qwenkit.text.tables import british_spellings, misspellings, synonyms

_ARTICLE = re.compile(r"(?<= )(?:a|an|the)(?= )")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_START = re.compile(r"[.!?][\"')\]”’]{0,3}\s++(?=\S)")
# A full stop after these, or after a single capital, ends no sentence.
_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "e.g", "i.e", "jr", "sr", "no"}
)
_LAST_WORD = re.compile(r"[\w.]{1,12}\Z")

Apply = Callable[[str, float, Random], str]
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack.

    Attributes:
        rate: RAID's own, of what `counts` names.
        approximates: What the original uses in the place of our word table; None for a faithful one.
    """

    title: str
    counts: str
    rate: float
    apply: Apply
    approximates: str | None = None


def attack_text(name: str, text: str, *, seed: int, row_id: int | str, rate: float | None = None) -> str:
    """Attack one text; the same seed, row and attack always give the same result, whatever the order.

    Args:
        name: An entry of ATTACKS.
        rate: From 0 to 1; None is RAID's.

    Returns:
        The attacked text, which is the text itself where there is nothing to change.
    """
    attack = ATTACKS[name]
    return attack.apply(text, attack.rate if rate is None else rate, Random(seed_of(seed, row_id, name)))


def seed_of(seed: int, row_id: int | str, name: str) -> int:
    """Give each row and attack a seed of its own, which no order of rows changes; below 2^63."""
    digest = blake2b(f"{seed}\0{row_id}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def split_sentences(text: str) -> list[str]:
    """Cut a text before its sentences; put together again the parts are the text."""
    starts = [0, *_find_sentence_starts(text), len(text)]
    return [text[start:stop] for start, stop in pairwise(starts)]


def delete_articles(text: str, rate: float, random: Random) -> str:
    """Delete articles (a, an, the), each with the space before it."""
    articles = list(_ARTICLE.finditer(text))
    return _replace(text, {(at.start() - 1, at.end()): "" for at in _pick(articles, rate, random)})


def swap_homoglyphs(text: str, rate: float, random: Random) -> str:
    """Put Cyrillic and Greek letters in the place of Latin ones that look the same."""
    chars = list(text)
    for place in _pick([place for place, char in enumerate(chars) if char in TWINS], rate, random):
        chars[place] = random.choice(TWINS[chars[place]])
    return "".join(chars)


def alter_numbers(text: str, rate: float, random: Random) -> str:
    """Draw the digits of numbers anew; how many there are, and the decimal point, stay."""
    edits = {}
    for number in _pick(list(_NUMBER.finditer(text)), rate, random):
        digits = [random.choice("0123456789") if char.isdigit() else char for char in number.group()]
        edits[number.span()] = "".join(digits)
    return _replace(text, edits)


def insert_paragraphs(text: str, rate: float, random: Random) -> str:
    """Put a blank line before sentences."""
    starts = _find_sentence_starts(text)
    return _replace(text, {(start, start): "\n\n" for start in _pick(starts, rate, random)})


def flip_case(text: str, rate: float, random: Random) -> str:
    """Turn the first letter of words from small to capital, or from capital to small."""
    edits = {}
    for word in _pick(list(_WORD.finditer(text)), rate, random):
        first = text[word.start()]
        edits[(word.start(), word.start() + 1)] = first.lower() if first.isupper() else first.upper()
    return _replace(text, edits)


def insert_spaces(text: str, rate: float, random: Random) -> str:
    """Put one more space after words; drawn with replacement, so some get several."""
    words = text.split(" ")
    for place in random.choices(range(len(words)), k=int(len(words) * rate)):
        words[place] += " "
    return " ".join(words)


def insert_zero_width_spaces(text: str, rate: float, random: Random) -> str:
    """Put an invisible space (U+200B) after characters."""
    chars = list(text)
    for place in _pick(range(len(chars)), rate, random):
        chars[place] += "\u200b"
    return "".join(chars)


def spell_as_british(text: str, rate: float, random: Random) -> str:
    """Write American spellings the British way."""
    pairs = british_spellings()
    return _swap_words(text, {american: (british,) for american, british in pairs.items()}, rate, random)


def misspell(text: str, rate: float, random: Random) -> str:
    """Misspell words as people do, so many as are a share of all words, and as the table knows."""
    return _swap_words(text, misspellings(), rate, random, is_share_of_all=True)


def swap_synonyms(text: str, rate: float, random: Random) -> str:
    """Replace words by others of like meaning, so many as are a share of all, and as the table knows."""
    return _swap_words(text, synonyms(), rate, random, is_share_of_all=True)


ATTACKS: dict[str, Attack] = {
    "article_deletion": Attack(title="Article deletion", counts="articles", rate=0.5, apply=delete_articles),
    "homoglyph": Attack(title="Homoglyphs", counts="look-alike letters", rate=1.0, apply=swap_homoglyphs),
    "number": Attack(title="Number swap", counts="numbers", rate=0.5, apply=alter_numbers),
    "insert_paragraphs": Attack(
        title="Paragraph insertion", counts="sentence starts", rate=0.5, apply=insert_paragraphs
    ),
    "upper_lower": Attack(title="Upper-lower", counts="words", rate=0.05, apply=flip_case),
    "whitespace": Attack(title="White space", counts="words", rate=0.2, apply=insert_spaces),
    "zero_width_space": Attack(
        title="Zero-width space", counts="characters", rate=1.0, apply=insert_zero_width_spaces
    ),
    "alternative_spelling": Attack(
        title="Alternative spelling", counts="American spellings", rate=1.0, apply=spell_as_british
    ),
    "approximate_misspelling": Attack(
        title="Misspelling (approximate)",
        counts="words",
        rate=0.2,
        apply=misspell,
        approximates="GPT-2 chooses the likeliest words of a larger table",
    ),
    "approximate_synonym": Attack(
        title="Synonyms (approximate)",
        counts="words",
        rate=0.5,
        apply=swap_synonyms,
        approximates="BERT proposes words in context, fastText compares their meaning",
    ),
}


# Needs a model of the user's, see text/paraphrase.py.
BY_MODEL = ("paraphrase",)


def _pick(places: Sequence[Item], rate: float, random: Random) -> list[Item]:
    count = int(len(places) * rate)
    return list(places) if count == len(places) else random.sample(places, count)


def _replace(text: str, edits: Mapping[tuple[int, int], str]) -> str:
    """Replace spans (start, end) that do not overlap, in one pass."""
    parts, done = [], 0
    for (start, end), new in sorted(edits.items()):
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


def _swap_words(
    text: str,
    swaps: Mapping[str, tuple[str, ...]],
    rate: float,
    random: Random,
    *,
    is_share_of_all: bool = False,
) -> str:
    """Replace whole words that a table knows, in the case that they stand in."""
    words = list(_WORD.finditer(text))
    known = [word for word in words if word.group().lower() in swaps]
    wanted = int((len(words) if is_share_of_all else len(known)) * rate)
    chosen = random.sample(known, min(wanted, len(known)))
    edits = {
        word.span(): _in_case(random.choice(swaps[word.group().lower()]), word.group()) for word in chosen
    }
    return _replace(text, edits)


def _in_case(word: str, model: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word.capitalize() if model[0].isupper() else word


def _find_sentence_starts(text: str) -> list[int]:
    """Find where sentences after the first start."""
    return [match.end() for match in _SENTENCE_START.finditer(text) if not _is_abbreviation(text, match)]


def _is_abbreviation(text: str, sentence_end: re.Match[str]) -> bool:
    if sentence_end.group()[0] != ".":
        return False
    last = _LAST_WORD.search(text, max(sentence_end.start() - 12, 0), sentence_end.start())
    return last is not None and (
        last.group().lower() in _ABBREVIATIONS or (len(last.group()) == 1 and last.group().isupper())
    )

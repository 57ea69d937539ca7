"""The frozen human corpus of the demo, and the one way in which both classes become words and text again."""

import json
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

CORPUS_FILE = "corpus.jsonl.xz"

# SPDX names; "public-domain" has none. NOTICE holds the copyright lines and where each licence was read.
LICENCES = {
    "postgresql": "PostgreSQL",
    "python": "PSF-2.0",
    "rust": "MIT OR Apache-2.0",
    "sqlite": "public-domain",
}

MARKS = frozenset(".,;:?!")
FINAL_MARKS = frozenset(".?!")
_CHUNK = re.compile(r"(.*?)([.,;:?!]*)")

Sentence = list[str]
"""Words, the last of them a final mark. The first one is in lower case unless it is a name."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One paragraph of documentation."""

    source_id: str
    """Unique: domain, page and number in the page."""
    domain: str
    """Which documentation it is from, a key of LICENCES."""
    document: str
    """The page. All passages of a page stay in one split."""
    text: str
    """Already in the one form that `join_words` can write."""


@cache
def read_corpus() -> tuple[Passage, ...]:
    """Read all passages from the package, in their frozen order: by domain, page and place in the page."""
    packed = files("qwenkit.data.demo").joinpath(CORPUS_FILE).read_bytes()
    lines = lzma.decompress(packed).decode("ascii").splitlines()
    return tuple(Passage(**json.loads(line)) for line in lines)


def split_words(text: str) -> list[str]:
    """Cut at spaces, and every mark off the end of a word: "e.g., this" is "e.g", ".", ",", "this"."""
    words: list[str] = []
    for chunk in text.split():
        match = _CHUNK.fullmatch(chunk)
        assert match is not None, "the first group takes whatever the second does not"
        words.extend([match[1]] * bool(match[1]) + list(match[2]))
    return words


def join_words(words: Iterable[str]) -> str:
    """Write words with one space between them and none before a mark: the inverse of `split_words`."""
    return "".join(word if word in MARKS else f" {word}" for word in words).removeprefix(" ")


def split_sentences(words: list[str]) -> list[list[str]]:
    """Cut behind each final mark that a capital follows, so that "e.g." ends no sentence."""
    ends = [
        i + 1
        for i, word in enumerate(words)
        if word in FINAL_MARKS and (i + 1 == len(words) or words[i + 1][0].isupper())
    ]
    return [words[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def read_sentences(texts: Iterable[str]) -> list[Sentence]:
    """Cut texts into sentences and undo the capital at the start of each, but for names.

    A name is a word with a capital that also stands inside some sentence of these texts.
    """
    sentences = [sentence for text in texts for sentence in split_sentences(split_words(text))]
    names = {word for sentence in sentences for word in sentence[1:] if word[0].isupper()}
    return [[_lower_unless_name(sentence[0], names), *sentence[1:]] for sentence in sentences]


def write_sentences(sentences: Iterable[Sentence]) -> str:
    """Write sentences as a text, each with its capital."""
    return join_words(word for first, *rest in sentences for word in (first[0].upper() + first[1:], *rest))


def _lower_unless_name(word: str, names: set[str]) -> str:
    is_plain_capital = word[1:].islower() or len(word) == 1
    return word.lower() if is_plain_capital and word not in names else word

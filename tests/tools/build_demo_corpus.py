"""Rebuild the demo's human corpus from documentation packages of Debian 12; by hand, never in a test.

    apt-get download postgresql-doc-15 python3.11-doc rust-doc sqlite3-doc
    for package in *.deb; do dpkg-deb -x "$package" unpacked; done
    python tests/tools/build_demo_corpus.py unpacked/usr/share/doc qwenkit/data/demo/corpus.jsonl.xz

The versions that the frozen file was made from stand in qwenkit/data/demo/NOTICE; the same versions give the
same passages. Taken are paragraphs of running prose; code, tables, headings and release notes are not.
"""

import json
import lzma
import random
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path

from qwenkit.console import Console
from qwenkit.data.demo.corpus import Passage, join_words, split_words

PASSAGES_PER_DOMAIN = 700
PASSAGES_PER_DOCUMENT = 10  # so that no long page fills a whole split
MIN_WORDS, MAX_WORDS = 40, 120
MIN_PLAIN_SHARE = 0.9  # of words that are letters only: identifiers and numbers are rare in prose
SHARED_RUN_WORDS = 8  # two passages that share so many words in a row are taken for copies

SEED = 42

PLAIN_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
PROSE = re.compile(r"[A-Z][A-Za-z0-9 .,;:?!'/%+_-]+[.?!]")
UNWANTED = re.compile(
    r"(?:New|Changed|Deprecated|Removed) (?:in|since) version|Availability:|https?:|www\.|--|\bCopyright\b"
    r"|[.,;?!][.,;:?!]| ::|[?!] [a-z]"  # marks that were code, or that nobody's detokenizer would write so
)
LAST_SENTENCE = re.compile(r"(?<=[.?!]) [A-Z][^.?!]*:$")  # "For example:" before a block of code
QUOTES = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": " -- ", "…": "...", "\xa0": " ", "¶": ""}
)
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "dt", "title"})
FURNITURE = frozenset({"script", "style", "nav", "header", "footer", "svg", "button"})
# A footnote sign or a power ends its paragraph: what stands before it is taken if it is whole sentences.
SKIPPED_TAGS = HEADINGS | FURNITURE | {"pre", "table", "sup", "sub"}
LISTS = frozenset({"dl", "dd", "ul", "ol", "li"})
BLOCKS = frozenset({"p", "div", "section", "article", "main", "body", "blockquote", "hr", "details"})
ENDING_TAGS = SKIPPED_TAGS | LISTS | BLOCKS


@dataclass(frozen=True, kw_only=True)
class Source:
    """One documentation: a domain of the demo."""

    domain: str
    folder: str
    """Below the documentation folder."""
    patterns: tuple[str, ...]
    excluded: str
    """Pages whose path (without suffix) this expression is found in are not taken."""


PYTHON_PARTS = ("c-api", "extending", "faq", "howto", "library", "reference", "tutorial")
RUST_PARTS = ("book", "edition-guide", "nomicon", "reference", "rust-by-example", "rustc", "rustdoc", "std")
SOURCES = (
    # Release notes are lists of changes; the bibliography and the acknowledgements are names.
    Source(
        domain="postgresql",
        folder="postgresql-doc-15/html",
        patterns=("*.html",),
        excluded=r"release|biblio|acknowledg|legalnotice|index",
    ),
    # The page on licences and the notes on new versions lie outside these folders.
    Source(
        domain="python",
        folder="python3.11/html",
        patterns=tuple(f"{part}/**/*.html" for part in PYTHON_PARTS),
        excluded=r"index",
    ),
    # The embedded book has another licence; a print page repeats its whole book; std/arch is generated.
    Source(
        domain="rust",
        folder="rust-doc/html",
        patterns=tuple(f"{part}/**/*.html" for part in RUST_PARTS),
        excluded=r"(^|/)print$|std/(arch|simd)|edition/",
    ),
    Source(
        domain="sqlite",
        folder="sqlite3",
        patterns=("*.html", "c3ref/*.html"),
        excluded=r"copyright|codeof|consortium|crew|index|press|books",
    ),
)


class ParagraphReader(HTMLParser):
    """Collects the text of every <p> outside skipped elements, also where a page never closes them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[str] = []
        self._parts: list[str] | None = None
        self._skipped: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ENDING_TAGS:
            self.finish_paragraph()
        if tag in SKIPPED_TAGS:
            self._skipped.append(tag)
        elif tag == "p" and not self._skipped:
            self._parts = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ENDING_TAGS:
            self.finish_paragraph()
        if tag in self._skipped:
            del self._skipped[self._skipped.index(tag) :]

    def handle_data(self, data: str) -> None:
        if self._parts is not None and not self._skipped:
            self._parts.append(data)

    def finish_paragraph(self) -> None:
        if self._parts is not None:
            self.paragraphs.append("".join(self._parts))
        self._parts = None


def read_paragraphs(page: Path) -> list[str]:
    reader = ParagraphReader()
    reader.feed(page.read_text(encoding="utf-8", errors="replace"))
    reader.finish_paragraph()
    return reader.paragraphs


def normalise(paragraph: str) -> str:
    """Bring a paragraph to plain words and marks: no brackets, no quotes, one space between words."""
    text = unicodedata.normalize("NFKC", paragraph.translate(QUOTES))
    for _ in range(2):  # brackets in brackets
        text = re.sub(r"\s*\([^()]*\)|\s*\[[^][]*\]", "", text)
    text = re.sub(r"\s+-{1,2}\s+", ", ", text)
    text = re.sub(r"[\"`]|(?<![A-Za-z])'|'(?![A-Za-z])", "", text)
    return LAST_SENTENCE.sub("", join_words(split_words(text)))


def is_prose(text: str) -> bool:
    """Say whether a normalised paragraph is whole sentences, of the wanted length, mostly in plain words."""
    words = [word for word in split_words(text) if word[0].isalnum()]
    if not MIN_WORDS <= len(words) <= MAX_WORDS or not PROSE.fullmatch(text) or UNWANTED.search(text):
        return False
    return sum(bool(PLAIN_WORD.fullmatch(word)) for word in words) >= MIN_PLAIN_SHARE * len(words)


def read_source(source: Source, docs: Path) -> list[Passage]:
    """All passages of one domain, in the order of their pages, copies included."""
    base = docs / source.folder
    pages = sorted({page for pattern in source.patterns for page in base.glob(pattern)})
    passages = []
    for page in pages:
        document = page.relative_to(base).with_suffix("").as_posix()
        if re.search(source.excluded, document):
            continue
        texts = [text for paragraph in read_paragraphs(page) if is_prose(text := normalise(paragraph))]
        for number, text in enumerate(texts):
            passages.append(
                Passage(
                    source_id=f"{source.domain}/{document}/{number}",
                    domain=source.domain,
                    document=document,
                    text=text,
                )
            )
    if not passages:
        sys.exit(f"no prose found in {base}: unpack the package there first (see the head of this file)")
    return passages


def runs_of_words(text: str) -> set[str]:
    """Every run of SHARED_RUN_WORDS words, without marks and case."""
    words = [word.lower() for word in split_words(text) if word[0].isalnum()]
    return {" ".join(words[i : i + SHARED_RUN_WORDS]) for i in range(len(words) - SHARED_RUN_WORDS + 1)}


def drop_copies(passages: list[Passage]) -> list[Passage]:
    """Keep, of passages that share a run of words, the first: no wording stands in two documents."""
    seen: set[str] = set()
    kept = []
    for passage in passages:
        runs = runs_of_words(passage.text)
        if seen.isdisjoint(runs):
            seen |= runs
            kept.append(passage)
    return kept


def choose_passages(passages: list[Passage], rng: random.Random) -> list[Passage]:
    """Draw PASSAGES_PER_DOMAIN of a domain's passages, at most PASSAGES_PER_DOCUMENT of one page."""
    taken: Counter[str] = Counter()
    chosen: list[Passage] = []
    for passage in rng.sample(passages, len(passages)):
        if len(chosen) < PASSAGES_PER_DOMAIN and taken[passage.document] < PASSAGES_PER_DOCUMENT:
            taken[passage.document] += 1
            chosen.append(passage)
    return chosen


def place_of(passage: Passage) -> tuple[str, str, int]:
    """Domain, page, and number in the page: the order of the frozen file."""
    return passage.domain, passage.document, int(passage.source_id.rsplit("/", 1)[1])


def main() -> None:
    docs, target = Path(sys.argv[1]), Path(sys.argv[2])
    rng = random.Random(SEED)
    found = drop_copies([passage for source in SOURCES for passage in read_source(source, docs)])
    corpus: list[Passage] = []
    for source in SOURCES:
        corpus += choose_passages([passage for passage in found if passage.domain == source.domain], rng)
    corpus.sort(key=place_of)
    lines = "".join(json.dumps(asdict(passage)) + "\n" for passage in corpus)
    target.write_bytes(lzma.compress(lines.encode("ascii"), preset=9 | lzma.PRESET_EXTREME))
    documents = Counter(domain for domain, _ in {(passage.domain, passage.document) for passage in corpus})
    Console().info(
        f"{len(corpus)} passages of {dict(documents)} pages, {target.stat().st_size:,} bytes packed"
    )


if __name__ == "__main__":
    main()

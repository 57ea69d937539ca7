"""Surface traits that may tell classes apart for the wrong reason, and a quick judge that uses nothing else.

Each family of TRAITS is a list of counted patterns: a new one is a line here. Patterns are those of Rust's
regex crate, which polars runs: linear in the length of any text, however hostile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from qwenkit.console import safe_text

# A model reads at most some 384 tokens, about this many characters; no trait needs more but the very ends.
MAX_CHARACTERS = 2_000
BINS = 8
SNIPPET_CHARACTERS = 60
RIDGE = 1.0

ZERO_WIDTH = (
    r"[\u{ad}\u{34f}\u{180e}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{206f}\u{feff}\u{e0000}-\u{e007f}]"
)


@dataclass(frozen=True, kw_only=True)
class TraitFamily:
    """Traits of one kind, judged together.

    Attributes:
        patterns: What is counted, by its name for people.
        rules: Rules of normalisation that may take it away; whether they do is measured.
        is_rate: Counts are taken per 1,000 characters, so that length plays no part.
        reads_whole_text: The end counts too, however far away it is.
    """

    title: str
    looks_at: str
    patterns: dict[str, str]
    rules: tuple[str, ...] = ()
    is_rate: bool = True
    reads_whole_text: bool = False


TRAITS: dict[str, TraitFamily] = {
    "length": TraitFamily(
        title="Length",
        looks_at="how many characters and words there are",
        patterns={"characters": r"(?s).", "words": r"\S+"},
        is_rate=False,
        reads_whole_text=True,
    ),
    "white_space": TraitFamily(
        title="White space",
        looks_at="line breaks, runs of spaces, tabs, rare spaces",
        patterns={
            "line breaks": r"\n",
            "blank lines": r"\n[^\S\n]*\n",
            "spaces in a row": r"[^\S\n]{2,}",
            "spaces at the start of a line": r"(?m)^[^\S\n]",
            "spaces at the end of a line": r"(?m)[^\S\n]$",
            "tabs": r"\t",
            "carriage returns": r"\r",
            "rare spaces": r"[\s&&[^ \t\r\n]]",
            "gaps": r"\s+",
        },
        rules=("collapse_whitespace",),
    ),
    "spacing": TraitFamily(
        title="Spacing of punctuation",
        looks_at="spaces before and after marks, as tokenizers leave them",
        patterns={
            "space before a mark": r"\w +[,.;:!?]",
            "no space after a mark": r"[,;:!?]\p{L}",
            "split contraction": r"(?i)\w (?:n['’]t|['’](?:s|re|ve|ll|m|d))\b",
            "space inside brackets": r"\( | \)",
            "space around hyphens": r"\w - \w",
        },
        rules=("collapse_whitespace", "fold_punctuation"),
    ),
    "punctuation": TraitFamily(
        title="Punctuation and digits",
        looks_at="how often each mark of ASCII and digits occur",
        patterns={
            "commas": ",",
            "full stops": r"\.",
            "semicolons": ";",
            "colons": ":",
            "exclamation marks": "!",
            "question marks": r"\?",
            "straight apostrophes": "'",
            "straight quotes": '"',
            "quotes as in TeX": "``|''",
            "hyphens": "-",
            "double hyphens": "--",
            "dots in a row": r"\.\.+",
            "round brackets": r"[()]",
            "slashes": "/",
            "other marks": r"[#$%&+=@^_~|{}]",
            "digits": r"\d",
        },
        rules=("fold_punctuation", "mask_digits"),
    ),
    "ends": TraitFamily(
        title="First and last characters",
        looks_at="what a text starts and ends with",
        patterns={
            "starts with white space": r"\A\s",
            "starts with a small letter": r"\A\s*\p{Ll}",
            "starts with a capital": r"\A\s*\p{Lu}",
            "starts with a digit": r"\A\s*\p{N}",
            "starts with a quote": r"\A\s*[\"'\p{Pi}\p{Pf}`]",
            "starts with a bracket": r"\A\s*\p{Ps}",
            "ends with white space": r"\s\z",
            "ends with a full stop": r"\.\s*\z",
            "ends with ! or ?": r"[!?]\s*\z",
            "ends with a letter or digit": r"[\p{L}\p{N}]\s*\z",
            "ends with a comma or colon": r"[,;:]\s*\z",
            "ends with a quote": r"[\"'\p{Pi}\p{Pf}]\s*\z",
            "ends with a bracket": r"\p{Pe}\s*\z",
            "ends with dots or a dash": r"(?:\.\.|…|\p{Pd})\s*\z",
        },
        rules=("collapse_whitespace",),
        is_rate=False,
        reads_whole_text=True,
    ),
    "unicode": TraitFamily(
        title="Unicode categories",
        looks_at="characters beyond ASCII, invisible ones first",
        patterns={
            "invisible characters": ZERO_WIDTH,
            "control characters": r"[\p{Cc}&&[^\s]]",
            "broken characters": r"\u{fffd}",
            "Cyrillic or Greek letters": r"[\p{Cyrillic}\p{Greek}]",
            "other letters beyond ASCII": r"[\p{L}&&[^\x00-\x7f\p{Cyrillic}\p{Greek}]]",
            "combining marks": r"\p{M}",
            "curly quotes": r"[‘’‚‛“”„‟«»]",
            "long dashes": r"[\u{2010}-\u{2015}]",
            "ellipsis characters": "…",
            "bullets": "[•‣·]",
            "rare spaces": r"[\p{Z}&&[^ ]]",
            "symbols beyond ASCII": r"[\p{S}&&[^\x00-\x7f]]",
            "numbers beyond ASCII": r"[\p{N}&&[^\x00-\x7f]]",
            "other marks beyond ASCII": r"[\p{P}&&[^\x00-\x7f‘’‚‛“”„‟«»…•‣·\u{2010}-\u{2015}]]",
        },
        rules=("strip_zero_width", "fold_homoglyphs", "fold_punctuation", "nfkc"),
    ),
    "casing": TraitFamily(
        title="Casing",
        looks_at="capitals, where they are and where they lack",
        patterns={
            "capitals": r"\p{Lu}",
            "words in capitals": r"\b\p{Lu}{2,}\b",
            "capitalised words": r"\b\p{Lu}\p{Ll}",
            "sentences that start small": r"[.!?]\s+\p{Ll}",
            "capitals inside words": r"\p{Ll}\p{Lu}",
        },
        rules=("lower_case",),
    ),
    "markup": TraitFamily(
        title="Markup",
        looks_at="HTML, Markdown, links, TeX, and tokens of language models",
        patterns={
            "HTML tags": r"</?[a-zA-Z][^<>]{0,200}>",
            "HTML entities": r"&(?:[a-zA-Z]{2,8}|#\d{2,5});",
            "emphasis": r"\*+|\b__|__\b",
            "headings": r"(?m)^\s*#{1,6}\s",
            "list items": r"(?m)^[ \t]*[-*+•]\s",
            "numbered items": r"(?m)^[ \t]*\d{1,3}[.)]\s",
            "code marks": "`+",
            "links": r"https?:|www\.",
            "square brackets": r"[\[\]]",
            "TeX": r"\\[a-zA-Z]+|\$[^$\n]{1,80}\$",
            "tokens of language models": r"<\|[^|<>]{1,40}\|>|</?s>|\[(?:UNK|PAD|SEP|CLS|MASK)\]",
        },
        rules=("strip_markup",),
    ),
}


def measure_traits(texts: Sequence[str], family: TraitFamily) -> np.ndarray:
    """Count a family's patterns in every text, float64, shape (rows, patterns)."""
    column = pl.Series(texts, dtype=pl.String)
    if not family.reads_whole_text:
        column = column.str.slice(0, MAX_CHARACTERS)
    counts = [column.str.count_matches(pattern).to_numpy() for pattern in family.patterns.values()]
    values = np.stack(counts, axis=1).astype(np.float64)
    if family.is_rate:
        lengths = column.str.len_chars().to_numpy().astype(np.float64)
        values *= 1_000 / np.maximum(lengths, 1)[:, None]
    return values


def judge_by_traits(
    train_values: np.ndarray, train_label_ids: np.ndarray, test_values: np.ndarray, n_classes: int
) -> np.ndarray:
    """Score rows by measured traits: least squares over what bin each value falls into.

    Bins (eighths of the training rows) see what a line through the values would not: a middle that only one
    class has, or the difference between none and some. Solved in closed form, so it costs milliseconds.

    Args:
        train_values: Shape (train rows, traits).
        train_label_ids: Shape (train rows,).
        test_values: Shape (test rows, traits).

    Returns:
        Scores, shape (test rows, classes); higher is likelier.
    """
    edges = [find_bin_edges(column) for column in train_values.T]
    binned = spread_into_bins(train_values, edges)
    wanted = np.eye(n_classes)[train_label_ids]
    penalty = RIDGE * np.eye(binned.shape[1])
    weights = np.linalg.solve(binned.T @ binned + penalty, binned.T @ (wanted - wanted.mean(axis=0)))
    return spread_into_bins(test_values, edges) @ weights


def find_bin_edges(values: np.ndarray) -> np.ndarray:
    """Give the upper edges of all bins but the last, sorted; equal ones once: a constant has one bin."""
    quantiles = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    edges = np.unique(quantiles)
    # A trait that few rows have has all its quantiles at none: none or some is what counts then.
    return edges[edges < values.max()]


def spread_into_bins(values: np.ndarray, edges: Sequence[np.ndarray]) -> np.ndarray:
    """Write each value as zeros and a one at its bin, shape (rows, bins of all traits)."""
    blocks = [
        np.eye(len(edge) + 1)[np.searchsorted(edge, column, side="left")]
        for column, edge in zip(values.T, edges, strict=True)
    ]
    return np.hstack(blocks)


def find_trait(text: str, pattern: str) -> int | None:
    """Say at which character a trait first shows, or None where it doesn't."""
    at = pl.Series([text], dtype=pl.String).str.find(pattern)[0]
    return None if at is None else len(text.encode()[:at].decode(errors="ignore"))


def cut_snippet(text: str, at: int) -> str:
    """Cut out what stands around a place, with white space and invisible characters made visible."""
    start = max(at - SNIPPET_CHARACTERS // 2, 0)
    cut = text[start : start + SNIPPET_CHARACTERS]
    seen = cut.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    shown = safe_text(seen.replace("  ", " ␣").replace("␣ ", "␣␣"))
    return ("…" if start else "") + shown + ("…" if start + SNIPPET_CHARACTERS < len(text) else "")

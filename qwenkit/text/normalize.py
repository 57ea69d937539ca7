"""What may be taken out of a text before anything looks at it: named rules, applied alike everywhere.

A rule removes a trait that tells the classes apart for the wrong reason. The same rules run over what is
prepared, scored, predicted and exported: they stand in qwenkit.json beside the weights. Each is an entry of
RULES, a pure function that changes nothing when applied again.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qwenkit.text.homoglyphs import fold_homoglyphs

# Format characters and other ones that take no room. Not the Arabic number signs: they are seen.
_ZERO_WIDTH = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u2022\u2023\u2043\u00b7", "*"),
        "\u2026": "...",
    }
)

_TAG_NAMES = (
    "a|abbr|article|b|big|blockquote|body|br|caption|center|cite|code|dd|del|div|dl|dt|em|figcaption|figure|font|"
    "footer|h[1-6]|head|header|hr|html|i|img|input|ins|kbd|label|li|link|main|mark|meta|nav|ol|option|p|pre|q|s|"
    "script|section|small|span|strike|strong|style|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|var|video"
)
_TAG_EDGES = re.compile(rf"(</?(?:{_TAG_NAMES})\b|>)", re.IGNORECASE | re.ASCII)
_EMPHASIS = re.compile(r"[*`]+")
_LINE_MARKS = re.compile(r"^(?:[ \t]*(?:#{1,6}|>|[-+\u2022])[ \t]+)+", re.MULTILINE)
_DIGIT = re.compile(r"\d")
# Two or three settle every text that was ever met.
_MOST_PASSES = 8


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One named rule: what it does, for people, and the function that does it."""

    title: str
    apply: Callable[[str], str]


def collapse_whitespace(text: str) -> str:
    """Make every run of white space, line breaks included, one space, and take it off both ends."""
    return " ".join(text.split())


def strip_zero_width(text: str) -> str:
    """Drop characters that take no room: zero-width spaces and joiners, soft hyphens, direction marks."""
    return _ZERO_WIDTH.sub("", text)


def nfkc(text: str) -> str:
    """Put compatible forms of a character into one: full-width and styled letters, ligatures, accents."""
    return unicodedata.normalize("NFKC", text)


def fold_punctuation(text: str) -> str:
    """Write typographic quotes, dashes, bullets and dots as a typewriter does."""
    return text.translate(_PUNCTUATION)


def strip_markup(text: str) -> str:
    """Drop HTML tags, and of Markdown emphasis, code marks, and the signs that open a line; links stay.

    Only the names of HTML are tags, so that `List<String>` stays whole. Emphasis goes first: what is left
    when it is gone may be a sign at the start of a line.
    """
    return _LINE_MARKS.sub("", _strip_tags(_EMPHASIS.sub("", text)))


def lower_case(text: str) -> str:
    """Write all letters small."""
    return text.lower()


def mask_digits(text: str) -> str:
    """Write every digit of any script as 0: numbers keep their length and nothing else."""
    return _DIGIT.sub("0", text)


RULES: dict[str, Rule] = {
    "nfkc": Rule(title="compatible Unicode forms made one", apply=nfkc),
    "strip_zero_width": Rule(title="invisible characters dropped", apply=strip_zero_width),
    "fold_homoglyphs": Rule(title="Cyrillic and Greek look-alikes made Latin", apply=fold_homoglyphs),
    "fold_punctuation": Rule(title="quotes, dashes and dots made plain", apply=fold_punctuation),
    "strip_markup": Rule(title="HTML and Markdown signs dropped", apply=strip_markup),
    "collapse_whitespace": Rule(
        title="white space and line breaks made one space", apply=collapse_whitespace
    ),
    "lower_case": Rule(title="letters made small", apply=lower_case),
    "mask_digits": Rule(title="digits made 0", apply=mask_digits),
}


def normalize_text(text: str, rules: Sequence[str]) -> str:
    """Apply rules by name in the order given, until none changes the text: one may make work for another.

    So a text that was normalised before stays as it is, whatever the order of the rules.
    """
    for _ in range(_MOST_PASSES):
        before = text
        for name in rules:
            text = RULES[name].apply(text)
        # A rule by itself has nothing left to do.
        if text == before or len(rules) == 1:
            break
    return text


def _strip_tags(text: str) -> str:
    """Cut from each tag's opening to the > that closes it, in one pass however they are nested."""
    if "<" not in text:
        return text
    kept: list[str] = []
    opened: list[int] = []
    for place, piece in enumerate(_TAG_EDGES.split(text)):
        is_edge = place % 2 == 1
        if is_edge and piece == ">" and opened:
            # A space, so that what stood on both sides makes neither a new word nor a new tag.
            kept[opened.pop() :] = [" "]
            continue
        if is_edge and piece != ">":
            opened.append(len(kept))
        kept.append(piece)
    return "".join(kept)

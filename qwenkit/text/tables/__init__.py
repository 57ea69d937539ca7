"""Word tables of the attacks, written by hand for qwenkit, and how they unfold into pairs of words."""

from functools import cache
from importlib.resources import files

Swaps = dict[str, tuple[str, ...]]


@cache
def british_spellings() -> dict[str, str]:
    """Give American words and their British spelling, endings unfolded: organize, organizes, organizer ..."""
    pairs: dict[str, str] = {}
    endings: list[list[str]] = []
    for line in _read_lines("spelling.txt"):
        if line.startswith("="):
            endings = [pair.split() for pair in line[1:].split(",")]
        elif line.startswith("+"):
            stems = line[1:].split()
            pairs |= {stem + american: stem + british for stem in stems for american, british in endings}
        else:
            american, british = line.split()
            pairs[american] = british
    return pairs


@cache
def misspellings() -> Swaps:
    """Give words and how they are often misspelt."""
    swaps: Swaps = {}
    for line in _read_lines("misspellings.txt"):
        word, wrong = line.split()
        swaps[word] = (*swaps.get(word, ()), wrong)
    return swaps


@cache
def synonyms() -> Swaps:
    """Give words and others of like meaning in the same form: houses and homes, asked and inquired."""
    swaps: Swaps = {}
    for line in _read_lines("synonyms.txt"):
        kind, word, other = line.split()
        for inflect in _INFLECTIONS[kind]:
            swaps[inflect(word)] = (*swaps.get(inflect(word), ()), inflect(other))
    return swaps


def _read_lines(name: str) -> list[str]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _add_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _add_ed(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + ("d" if word.endswith("e") else "ed")


def _add_ing(word: str) -> str:
    is_silent = word.endswith("e") and not word.endswith(("ee", "ye", "oe"))
    return (word[:-1] if is_silent else word) + "ing"


_INFLECTIONS = {
    "a": (str,),
    "n": (str, _add_s),
    "v": (str, _add_s, _add_ed, _add_ing),
}

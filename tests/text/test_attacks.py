"""The attacks: each changes what it names and nothing else, at its rate, and always the same way."""

import re
from collections.abc import Callable
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwenkit.text.attacks import ATTACKS, attack_text
from qwenkit.text.normalize import normalize_text
from qwenkit.text.tables import british_spellings, misspellings, synonyms

PASSAGE = (
    "Mr. Smith drove to the old center of a city in 1984. The organizers received an award! Why did people "
    "believe the story? It cost 3.50 and took 12 hours. A friend asked for the color of his house. "
)
TEXT = PASSAGE * 20
HOSTILE = [
    "",
    " ",
    "a",
    "é",
    "\n\n",
    "\u200b",
    "1",
    ".",
    "!" * 50,
    ". . . ",
    "\x00\x1b[31m",
    "🙂" * 5,
    "<b>\r\n",
]


def words(text: str) -> list[str]:
    return text.split()


def without(pattern: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, "", text)


# What an attack leaves as it was: two texts are the same in this respect.
KEEPS: dict[str, Callable[[str], object]] = {
    "article_deletion": lambda text: [word for word in words(text) if word not in {"a", "an", "the"}],
    "homoglyph": lambda text: normalize_text(text, ["fold_homoglyphs"]),
    "number": lambda text: normalize_text(text, ["mask_digits"]),
    "insert_paragraphs": words,
    "upper_lower": str.casefold,
    "whitespace": without(" "),
    "zero_width_space": without("\u200b"),
    "alternative_spelling": lambda text: [word[0] for word in words(text)],
    "approximate_misspelling": lambda text: len(words(text)),
    "approximate_synonym": lambda text: (len(words(text)), re.findall(r"[^\w\s]", text)),
}
# Places that the rate counts, in a text; as many times the rate, rounded down, are changed.
COUNTS: dict[str, Callable[[str], int]] = {
    "article_deletion": lambda text: len(re.findall(r"(?<= )(?:a|an|the)(?= )", text)),
    "homoglyph": lambda text: sum(char in "ABCEHIKMNOPTXZaceiopxy" for char in text),
    "number": lambda text: len(re.findall(r"\d+(?:\.\d+)?", text)),
    # "Mr. Smith" starts no sentence, and neither does the very first one.
    "insert_paragraphs": lambda text: len(re.findall(r"(?<!Mr)[.!?] (?=\w)", text)),
    "upper_lower": lambda text: len(re.findall(r"[A-Za-z]+", text)),
    "whitespace": lambda text: len(text.split(" ")),
    "zero_width_space": len,
    "alternative_spelling": lambda text: sum(text.count(word) for word in ("center", "organizers", "color")),
    "approximate_misspelling": lambda text: len(re.findall(r"[A-Za-z]+", text)),
    "approximate_synonym": lambda text: len(re.findall(r"[A-Za-z]+", text)),
}
# How many changes an attacked text shows.
CHANGED: dict[str, Callable[[str, str], int]] = {
    "article_deletion": lambda before, after: len(words(before)) - len(words(after)),
    "number": lambda before, after: sum(a != b for a, b in zip(words(before), words(after), strict=True)),
    "insert_paragraphs": lambda before, after: after.count("\n\n"),
    "whitespace": lambda before, after: after.count(" ") - before.count(" "),
    "zero_width_space": lambda before, after: after.count("\u200b"),
}


def count_changes(name: str, before: str, after: str) -> int:
    if name in CHANGED:
        return CHANGED[name](before, after)
    if len(before) == len(after) and name in ("homoglyph", "upper_lower"):
        return sum(a != b for a, b in zip(before, after, strict=True))
    return sum(a != b for a, b in zip(words(before), words(after), strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_changes_the_text_and_keeps_the_rest(name: str) -> None:
    attacked = attack_text(name, TEXT, seed=1, row_id=7)
    assert attacked != TEXT
    assert KEEPS[name](attacked) == KEEPS[name](TEXT)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_depends_on_seed_and_row_and_nothing_else(name: str) -> None:
    first = attack_text(name, TEXT, seed=1, row_id=7, rate=0.1)
    assert attack_text(name, TEXT, seed=1, row_id=7, rate=0.1) == first
    assert attack_text(name, TEXT, seed=2, row_id=7, rate=0.1) != first
    assert attack_text(name, TEXT, seed=1, row_id=8, rate=0.1) != first
    assert attack_text(name, TEXT, seed=1, row_id="7", rate=0.1) == first


@pytest.mark.parametrize("rate", [None, 0.1, 0.37])
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_changes_the_share_that_it_promises(name: str, rate: float | None) -> None:
    places = COUNTS[name](TEXT)
    share = ATTACKS[name].rate if rate is None else rate
    expected = int(places * share)
    changed = [
        count_changes(name, TEXT, attack_text(name, TEXT, seed=seed, row_id=1, rate=rate))
        for seed in range(5)
    ]
    if name == "number":
        # A one-digit number is drawn as itself one time in ten, a longer one less often.
        assert all(0.8 * expected <= count <= expected for count in changed)
    elif name.startswith("approximate_") and expected > changed[0]:
        # The tables know no more words of this text.
        table = misspellings() if name == "approximate_misspelling" else synonyms()
        known = sum(word.lower() in table for word in re.findall(r"[A-Za-z]+", TEXT))
        assert changed == [min(known, expected)] * 5
    else:
        assert changed == [expected] * 5


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_at_rate_nought_leaves_the_text(name: str) -> None:
    assert attack_text(name, TEXT, seed=1, row_id=1, rate=0.0) == TEXT


@pytest.mark.parametrize("name", ATTACKS)
@given(text=st.text(max_size=50) | st.sampled_from(HOSTILE) | st.text(alphabet="aA .!1ct\n-’'", max_size=50))
@settings(deadline=None, max_examples=150)
def test_attack_survives_any_text(name: str, text: str) -> None:
    attacked = attack_text(name, text, seed=1, row_id=1)
    assert isinstance(attacked, str)
    assert attack_text(name, text, seed=1, row_id=1) == attacked
    if name not in ("article_deletion", "alternative_spelling"):
        assert len(attacked) >= len(text) - 3 * len(text.split())


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("unit", [" ", ".", "! ", "a ", "9.", "it's ", "\n", "Mr. "])
def test_attack_on_an_endless_text_takes_no_more_than_linear_time(name: str, unit: str) -> None:
    """Quadratic time would take minutes here, and hang the tests."""
    attack_text(name, unit * 50_000, seed=1, row_id=1)


def test_capitals_of_a_swapped_word_stay() -> None:
    spelled = attack_text("alternative_spelling", "Color COLOR color", seed=1, row_id=1)
    assert spelled == "Colour COLOUR colour"


def test_only_whole_words_are_spelled_anew() -> None:
    assert attack_text("alternative_spelling", "colorado tireless", seed=1, row_id=1) == "colorado tireless"


def test_abbreviations_and_initials_end_no_sentence() -> None:
    text = "Dr. J. Doe met Mrs. Roe at 5. They left."
    assert attack_text("insert_paragraphs", text, seed=1, row_id=1, rate=1.0) == text.replace(
        "5. ", "5. \n\n"
    )


def test_stand_ins_are_called_approximate_and_say_what_the_original_uses() -> None:
    for name, attack in ATTACKS.items():
        assert name.startswith("approximate_") == (attack.approximates is not None)
        assert ("approximate" in attack.title) == (attack.approximates is not None)


@pytest.mark.parametrize("table", [british_spellings, misspellings, synonyms])
def test_tables_swap_single_words_for_others(table: Callable[[], dict[str, object]]) -> None:
    assert len(table()) > 250
    for word, others in table().items():
        for other in [others] if isinstance(others, str) else others:
            assert re.fullmatch(r"[a-z]+(?:'[a-z]+)?", word), word
            assert re.fullmatch(r"[a-z]+(?:'[a-z]+)?", other), other
            assert word != other


def test_british_spelling_changes_few_letters() -> None:
    for american, british in british_spellings().items():
        assert american not in british_spellings().values()
        assert SequenceMatcher(None, american, british).ratio() >= 0.5, american


@pytest.mark.parametrize(
    ("word", "others"),
    [
        ("houses", "homes"),
        ("asked", "inquired"),
        ("tries", "attempts"),
        ("using", "employing"),
        ("cities", "towns"),
    ],
)
def test_synonyms_keep_the_form_of_the_word(word: str, others: str) -> None:
    assert others in synonyms()[word]

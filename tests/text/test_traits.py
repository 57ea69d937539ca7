"""Surface traits: each pattern finds what it is called after, and the judge sees bins, not lines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from qwenkit.text.normalize import RULES
from qwenkit.text.traits import (
    MAX_CHARACTERS,
    SNIPPET_CHARACTERS,
    TRAITS,
    cut_snippet,
    find_trait,
    judge_by_traits,
    measure_traits,
)

# family -> pattern -> (a text that shows it, at which character it starts)
SHOWN = {
    "length": {"characters": ("a", 0), "words": (" a", 1)},
    "white_space": {
        "line breaks": ("é\nb", 1),
        "blank lines": ("a\n \nb", 1),
        "spaces in a row": ("a  b", 1),
        "spaces at the start of a line": ("a\n b", 2),
        "spaces at the end of a line": ("a \nb", 1),
        "tabs": ("a\tb", 1),
        "carriage returns": ("a\r\nb", 1),
        "rare spaces": ("a\u00a0b", 1),
        "gaps": ("a b", 1),
    },
    "spacing": {
        "space before a mark": ("a , b", 0),
        "no space after a mark": ("a,b", 1),
        "split contraction": ("do n't", 1),
        "space inside brackets": ("( a)", 0),
        "space around hyphens": ("a - b", 0),
    },
    "punctuation": {
        "commas": (",", 0),
        "full stops": (".", 0),
        "semicolons": (";", 0),
        "colons": (":", 0),
        "exclamation marks": ("!", 0),
        "question marks": ("?", 0),
        "straight apostrophes": ("it's", 2),
        "straight quotes": ('a "b"', 2),
        "quotes as in TeX": ("``a''", 0),
        "hyphens": ("a-b", 1),
        "double hyphens": ("a--b", 1),
        "dots in a row": ("a...", 1),
        "round brackets": ("(a)", 0),
        "slashes": ("a/b", 1),
        "other marks": ("a_b", 1),
        "digits": ("a1", 1),
    },
    "ends": {
        "starts with white space": ("\na", 0),
        "starts with a small letter": ("a", 0),
        "starts with a capital": ("A", 0),
        "starts with a digit": ("1", 0),
        "starts with a quote": ("“a", 0),
        "starts with a bracket": ("(a", 0),
        "ends with white space": ("a ", 1),
        "ends with a full stop": ("a.", 1),
        "ends with ! or ?": ("a!", 1),
        "ends with a letter or digit": ("ab", 1),
        "ends with a comma or colon": ("a,", 1),
        "ends with a quote": ('a"', 1),
        "ends with a bracket": ("a)", 1),
        "ends with dots or a dash": ("a…", 1),
    },
    "unicode": {
        "invisible characters": ("a\u200bb", 1),
        "control characters": ("a\x00b", 1),
        "broken characters": ("a\ufffd", 1),
        "Cyrillic or Greek letters": ("aа", 1),
        "other letters beyond ASCII": ("aé", 1),
        "combining marks": ("e\u0301", 1),
        "curly quotes": ("it’s", 2),
        "long dashes": ("a—b", 1),
        "ellipsis characters": ("a…", 1),
        "bullets": ("• a", 0),
        "rare spaces": ("a\u2003b", 1),
        "symbols beyond ASCII": ("a 🙂", 2),
        "numbers beyond ASCII": ("a²", 1),
        "other marks beyond ASCII": ("a。", 1),
    },
    "casing": {
        "capitals": ("aB", 1),
        "words in capitals": ("a NATO", 2),
        "capitalised words": ("a Bc", 2),
        "sentences that start small": ("A. b", 1),
        "capitals inside words": ("iPhone", 0),
    },
    "markup": {
        "HTML tags": ("a <br/> b", 2),
        "HTML entities": ("a &amp; b", 2),
        "emphasis": ("a **b**", 2),
        "headings": ("a\n# b", 2),
        "list items": ("a\n- b", 2),
        "numbered items": ("a\n1. b", 2),
        "code marks": ("a `b`", 2),
        "links": ("a https://b", 2),
        "square brackets": ("a [b]", 2),
        "TeX": ("a \\frac", 2),
        "tokens of language models": ("a <|endoftext|>", 2),
    },
}
NOTHING_SHOWN = {"length", "white_space", "ends", "casing", "punctuation"}
hostile = st.text(max_size=60)


@pytest.mark.parametrize("name", TRAITS)
def test_every_pattern_finds_what_it_is_called_after(name: str) -> None:
    family = TRAITS[name]
    assert SHOWN[name].keys() == family.patterns.keys()
    for place, (trait, pattern) in enumerate(family.patterns.items()):
        text, at = SHOWN[name][trait]
        assert measure_traits([text], family)[0, place] > 0, trait
        assert find_trait(text, pattern) == at, trait


@pytest.mark.parametrize("name", sorted(TRAITS.keys() - NOTHING_SHOWN))
def test_plain_prose_shows_no_trait_of_markup_unicode_or_spacing(name: str) -> None:
    assert not measure_traits(["It was a plain day, as days go. Nobody's dog barked."], TRAITS[name]).any()


@pytest.mark.parametrize("name", TRAITS)
def test_rules_against_a_family_exist(name: str) -> None:
    assert set(TRAITS[name].rules) <= RULES.keys()


@pytest.mark.parametrize("name", TRAITS)
@given(texts=st.lists(hostile, min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_any_text_is_measured_alike_alone_and_among_others(name: str, texts: list[str]) -> None:
    values = measure_traits(texts, TRAITS[name])
    assert values.shape == (len(texts), len(TRAITS[name].patterns))
    assert np.isfinite(values).all()
    alone = np.concatenate([measure_traits([text], TRAITS[name]) for text in texts])
    assert np.array_equal(values, alone)


def test_rates_do_not_depend_on_length_and_only_ends_and_length_read_on() -> None:
    short, long = "a, b. ", "a, b. " * 50
    family = TRAITS["punctuation"]
    assert np.allclose(measure_traits([short], family), measure_traits([long], family))
    endless = "a" * (MAX_CHARACTERS + 1) + "!"
    assert not measure_traits([endless], family).any()
    ends = dict(zip(TRAITS["ends"].patterns, measure_traits([endless], TRAITS["ends"])[0], strict=True))
    assert ends["ends with ! or ?"] == 1
    assert measure_traits([endless], TRAITS["length"])[0, 0] == MAX_CHARACTERS + 2


def test_judge_sees_a_middle_that_only_one_class_has() -> None:
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, (2_000, 1))
    label_ids = (np.abs(values[:, 0]) < 0.5).astype(int)
    scores = judge_by_traits(values[:1_000], label_ids[:1_000], values[1_000:], 2)
    # Two of the eight bins hold an edge of the middle, and rows of both classes.
    assert roc_auc_score(label_ids[1_000:], scores[:, 1]) > 0.97
    assert abs(roc_auc_score(label_ids, values[:, 0]) - 0.5) < 0.05


def test_judge_sees_a_trait_that_few_rows_have_and_nothing_in_a_constant() -> None:
    values = np.zeros((200, 2))
    values[:10, 0] = 1
    label_ids = np.zeros(200, dtype=int)
    label_ids[:10] = 2
    scores = judge_by_traits(values, label_ids, values, 3)
    assert scores[:10, 2].min() > scores[10:, 2].max()
    constant = judge_by_traits(np.ones((9, 1)), np.arange(9) % 3, np.ones((2, 1)), 3)
    assert np.abs(constant).max() < 1e-12


@given(text=st.text(), at=st.integers(0, 40))
@settings(deadline=None)
def test_snippets_are_short_and_hold_nothing_invisible(text: str, at: int) -> None:
    snippet = cut_snippet(text, at)
    assert not set(snippet) & set("\n\r\t\x00\x1b\u200b\u202e\u2028")
    # Each character may be written as an escape of up to six.
    assert len(snippet) <= 7 * SNIPPET_CHARACTERS + 2


def test_snippets_show_white_space() -> None:
    assert cut_snippet("a\n\tb   c\u200b", 0) == "a\\n\\tb ␣␣c\\u200b"
    assert cut_snippet("x" * 100 + "!" + "y" * 100, 100) == "…" + "x" * 30 + "!" + "y" * 29 + "…"

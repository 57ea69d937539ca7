"""The rules of normalisation: what each takes out, and that nothing is left to do a second time."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwenkit.text.homoglyphs import TWINS, fold_homoglyphs
from qwenkit.text.normalize import RULES, normalize_text

# rule, text, what it becomes; the second text is left as it is.
EXAMPLES = {
    "collapse_whitespace": ("  a\n\n b\u00a0\tc \r\n", "a b c", "a b"),
    "strip_zero_width": ("\ufeffa\u200bb\u00adc\u202ed", "abcd", "naïve é 漢 \u0601"),
    "nfkc": ("ﬁne Ｆｕｌｌ 𝐛𝐨𝐥𝐝 e\u0301", "fine Full bold é", "fine"),
    "fold_homoglyphs": ("Тhе сору", "The copy", "Это русский текст о море"),
    "fold_punctuation": ("“It’s” — so…", '"It\'s" - so...', "it's"),
    "strip_markup": (
        "# Title\n> **bold** <b class='x'>tag</b>\n- item `code`",
        "Title\nbold  tag \nitem code",
        "a < b > c, List<String>, 3-4",
    ),
    "lower_case": ("ABC Éa", "abc éa", "abc"),
    "mask_digits": ("in 1984, 3.50 or ٣", "in 0000, 0.00 or 0", "one"),
}
CONTROLS = " \n\t*`#<>/b-–“”\u200bаеІA9𝐛ﬁ\u0301"
hostile = st.text(max_size=40) | st.text(alphabet=CONTROLS, max_size=40)


@pytest.mark.parametrize("name", RULES)
def test_rule_takes_out_what_it_names_and_leaves_the_rest(name: str) -> None:
    given_text, expected, untouched = EXAMPLES[name]
    assert RULES[name].apply(given_text) == expected
    assert RULES[name].apply(untouched) == untouched


@pytest.mark.parametrize("name", RULES)
@given(text=hostile)
@settings(deadline=None, max_examples=200)
def test_rule_changes_nothing_when_applied_again(name: str, text: str) -> None:
    once = RULES[name].apply(text)
    assert RULES[name].apply(once) == once


@given(text=hostile, names=st.lists(st.sampled_from(sorted(RULES)), max_size=8))
@settings(deadline=None, max_examples=300)
def test_rules_together_change_nothing_when_applied_again_in_any_order(text: str, names: list[str]) -> None:
    once = normalize_text(text, names)
    assert normalize_text(once, names) == once


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("unit", ["<b ", "> ", "# ", "*", "\u200b", "a ", "е", "<b>", "-"])
def test_rule_needs_no_more_than_linear_time_on_hostile_text(name: str, unit: str) -> None:
    started = time.perf_counter()
    RULES[name].apply(unit * 100_000)
    # Linear takes 0.1 s at most; quadratic would take minutes.
    assert time.perf_counter() - started < 5


def test_nested_and_broken_tags_are_cut_once_and_for_all() -> None:
    assert RULES["strip_markup"].apply("x<b <i>y> z") == "x  z"
    assert RULES["strip_markup"].apply("x <b y") == "x <b y"


def test_text_fully_attacked_with_homoglyphs_is_restored() -> None:
    sentence = "The price of a PIZZA in KYOTO, Mexico or Chile: IBM HAXCETX"
    for place in (0, -1):
        attacked = "".join(TWINS.get(char, char)[place] for char in sentence)
        assert attacked != sentence
        assert fold_homoglyphs(attacked) == sentence


def test_greek_and_russian_text_is_left_alone() -> None:
    for text in ("Ο ήλιος ανατέλλει από την Ανατολή", "Съешь же ещё этих мягких французских булок"):
        assert fold_homoglyphs(text) == text

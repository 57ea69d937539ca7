"""YAML words: what is a number, what is text, and what is refused because it hides its value."""

from collections.abc import Callable

import pytest

from qwenkit.config.yaml_reader import resolve_plain

Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("2.5e+3", 2500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("100_000", 100_000),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("012", "012"),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("1_0", "1_0"),
        ("9" * 5000, "9" * 5000),
        ("inf", "inf"),
        ("e5", "e5"),
        ("-", "-"),
    ],
)
def test_a_plain_word_has_one_meaning(word: str, value: object) -> None:
    found = resolve_plain(word)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training: {learning_rate: .inf}", "training.learning_rate   expected a finite number, found .inf"),
        ("training: {learning_rate: -.INF}", "expected a finite number, found -.INF"),
        ("training: {learning_rate: .nan}", "expected a finite number, found .nan"),
        ("training: {learning_rate: 1e999}", "expected a finite number, found 1e999"),
        ("dataset: {split_ratios: [0.5, .nan, 0.5]}", "dataset.split_ratios   expected a finite number"),
        ("training: {seed: 1, seed: 2}", "training.seed   given twice, first in line 1"),
        ("training: {seed: 1}\ntraining: {}", "line 2  training   given twice, first in line 1"),
        ("training: &t {seed: 1}", "anchors and aliases (t) are not read here"),
        ("a: &a [*a]", "anchors and aliases (a) are not read here"),
        ("training: {<<: {seed: 1}}", "merge keys (<<) are not read here"),
        ("training: {seed: !!int 1}", "tags (tag:yaml.org,2002:int) are not read here"),
        ("training: !!python/object/apply:os.system [ls]", "are not read here"),
        ("training.seed: 1", "training.seed   a name has no dot: write the section"),
        ("training: {[1, 2]: 3}", "expected a name, found a list"),
        ("training: {seed: '1'}", "expected a whole number, found '1'"),
        ("training: {seed: 010}", "expected a whole number, found '010'"),
        ("training: {run_name: 2024}", "expected text, found 2024; put it in quotes"),
        ("wandb: {enabled: maybe}", "expected true or false, found 'maybe'"),
    ],
)
def test_what_could_surprise_is_refused(refusal: Refusal, text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_an_alias_bomb_is_refused_before_it_grows(refusal: Refusal) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9) if n else 'x'}]" for n in range(9)]
    assert "anchors and aliases" in refusal("\n".join(levels))

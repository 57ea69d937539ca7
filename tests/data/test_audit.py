"""The leak audit: it finds planted flaws, names the rule against them, and is silent where there is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from qwenkit.cli.app import app
from qwenkit.data.audit import LEAST_ROWS, audit_leaks
from qwenkit.text.leak_table import (
    describe_audit,
    leak_examples,
    leak_table,
    leak_warnings,
    phrase_table,
)
from qwenkit.text.normalize import normalize_text

LABELS = ("AI_Generated", "Human_Written")
SENTENCE = "the of and a dog walks past some old red house in Kyoto while rain falls on all roofs"
WORDS = SENTENCE.split()


def write_text(random: np.random.Generator) -> str:
    """Write a few sentences that tell nothing."""
    sentences = []
    for _ in range(random.integers(2, 6)):
        words = random.choice(WORDS, random.integers(4, 12)).tolist()
        sentences.append(" ".join(words).capitalize() + random.choice([".", ".", "!", ", yes."]))
    return " ".join(sentences)


def make_rows(plant: Callable[[str], str] = str, *, rows: int = 600, seed: int = 0) -> pl.DataFrame:
    """Make rows of two classes, alike but for what is planted in three quarters of the first."""
    random = np.random.default_rng(seed)
    texts = [write_text(random) for _ in range(rows)]
    label_ids = [row % 2 for row in range(rows)]
    planted = [
        plant(text) if label_id == 0 and random.random() < 0.75 else text
        for text, label_id in zip(texts, label_ids, strict=True)
    ]
    return pl.DataFrame({"row_id": range(rows), "text": planted, "label_id": label_ids})


def audit(rows: pl.DataFrame, **options: Any) -> dict[str, Any]:
    options = {"labels": LABELS, "domain_column": None, "seed": 42, **options}
    leaks = audit_leaks({"train": rows}, **options)
    assert leaks is not None
    return leaks


def probes_of(leaks: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {fact["name"]: fact for fact in leaks["probes"]}


# probe, what is planted, the strongest trait, the rules that take it out again
PLANTED: dict[str, tuple[Callable[[str], str], str, list[str]]] = {
    "length": (lambda text: text + " " + text, "words", []),
    "white_space": (lambda text: text.replace(". ", ".\n\n"), "line breaks", ["collapse_whitespace"]),
    "spacing": (lambda text: text.replace(".", " ."), "space before a mark", []),
    "punctuation": (lambda text: text.replace(" old", " 1984"), "digits", []),
    "ends": (lambda text: "  " + text, "starts with white space", ["collapse_whitespace"]),
    "unicode": (lambda text: text.replace("h", "h\u200b"), "invisible characters", ["strip_zero_width"]),
    "casing": (lambda text: text.lower(), "capitals", ["lower_case"]),
    "markup": (lambda text: text.replace("dog", "<b>dog</b>"), "HTML tags", ["strip_markup"]),
}


def test_rows_alike_raise_no_warning() -> None:
    leaks = audit(make_rows())
    assert leak_warnings(leaks) == []
    # 600 rows: the standard error of an AUROC of 0.5 is 0.024, and there are a dozen probes.
    assert all(abs(fact["auroc"] - 0.5) < 0.1 for fact in leaks["probes"])


@pytest.mark.parametrize("name", PLANTED)
def test_planted_flaw_is_found_shown_and_its_rule_named(name: str) -> None:
    plant, trait, rules = PLANTED[name]
    rows = make_rows(plant)
    leaks = audit(rows)
    fact = probes_of(leaks)[name]
    assert fact["auroc"] > 0.7
    assert fact["is_warning"]
    assert fact["tell"]["trait"] == trait
    assert fact["tell"]["label"] == ("Human_Written" if name == "casing" else "AI_Generated")
    assert fact["remedy"]["rules"] == rules
    assert len(fact["examples"]) == 3
    for example in fact["examples"]:
        assert example["label"] == fact["tell"]["label"]
        assert LABELS[rows["label_id"][example["row_id"]]] == example["label"]
    warning = next(line for line in leak_warnings(leaks) if line.startswith(fact["title"]))
    assert f"row {fact['examples'][0]['row_id']}" in warning
    assert (f"dataset.normalize=[{', '.join(rules)}] takes it out" if rules else "No rule") in warning


@pytest.mark.parametrize("name", [name for name, (_, _, rules) in PLANTED.items() if rules])
def test_rule_that_is_named_does_take_the_flaw_out(name: str) -> None:
    plant, _, rules = PLANTED[name]
    rows = make_rows(plant)
    cleaned = rows.with_columns(
        text=pl.col("text").map_elements(lambda text: normalize_text(text, rules), return_dtype=pl.String)
    )
    assert not probes_of(audit(cleaned))[name]["is_warning"]


def test_phrase_that_one_class_repeats_is_listed() -> None:
    leaks = audit(make_rows(lambda text: f"As an AI language model, I can say: {text}"))
    fact = probes_of(leaks)["phrases"]
    assert fact["is_warning"]
    first = fact["phrases"][0]
    assert first["phrase"] in "as an ai language model , i can say :"
    assert len(first["phrase"].split()) == 6
    assert first["label"] == "AI_Generated"
    assert 0.6 < first["share"] < 0.9
    assert first["share_elsewhere"] == 0
    columns, rows = phrase_table(leaks)
    assert len(columns) == len(rows[0]) == 4


def test_column_that_tells_the_class_is_a_warning_that_no_rule_can_mend() -> None:
    rows = make_rows().with_columns(
        source=pl.when(pl.col("label_id") == 0).then(pl.lit("gen\x1b[2J")).otherwise(pl.lit("cnn")),
        topic=pl.Series(["x", "y", "z"] * 200),
    )
    facts = probes_of(audit(rows, domain_column="topic"))
    assert facts["column:source"]["auroc"] > 0.99
    assert facts["column:source"]["is_warning"]
    assert not facts["column:topic"]["is_warning"]
    warning = next(line for line in leak_warnings(audit(rows)) if "Column source" in line)
    assert "balance the sources" in warning
    assert "\x1b" not in json.dumps(facts, ensure_ascii=False)


def test_content_alone_is_never_a_warning() -> None:
    leaks = audit(make_rows(lambda text: text.replace("dog", "cat").replace("red", "blue")))
    assert probes_of(leaks)["words"]["auroc"] > 0.8
    assert leak_warnings(leaks) == []


def test_rows_of_one_group_are_never_on_both_sides_of_a_fold() -> None:
    random = np.random.default_rng(1)
    # Thirty texts, each ten times: what class a text has can only be remembered, never learnt.
    texts, label_ids = [write_text(random) for _ in range(150)], random.permutation(np.arange(150) % 2)
    rows = pl.DataFrame(
        {"row_id": range(1_500), "text": texts * 10, "label_id": np.tile(label_ids, 10).tolist()}
    )
    remembered = probes_of(audit(rows))["characters"]["auroc"]
    grouped = audit(rows.with_columns(group=pl.Series(list(range(150)) * 10)))
    assert grouped["folds_by"] == "group"
    assert remembered > 0.95
    assert probes_of(grouped)["characters"]["auroc"] < 0.7


def test_audit_is_the_same_every_time_and_another_with_another_seed() -> None:
    rows = make_rows(rows=900)
    assert audit(rows, max_rows=500) == audit(rows, max_rows=500)
    assert audit(rows, max_rows=500) != audit(rows, max_rows=500, seed=7)


def test_phrases_are_listed_alike_whatever_ran_before() -> None:
    rows = make_rows(lambda text: f"As an AI, I can say it. In the end: {text} So much for now.")
    first = probes_of(audit(rows))["phrases"]
    pl.Series(["the", "zebra", "as", "an", "now"]).cast(pl.Categorical)
    audit(make_rows(lambda text: text[::-1], seed=9, rows=200))
    assert len(first["phrases"]) > 5
    assert probes_of(audit(rows))["phrases"] == first


def test_sample_keeps_the_share_of_each_split_label_and_domain() -> None:
    rows = make_rows(rows=1_000).with_columns(topic=pl.Series(["x"] * 900 + ["y"] * 100))
    leaks = audit_leaks(
        {"train": rows, "test": rows.head(200)}, labels=LABELS, domain_column="topic", seed=1, max_rows=600
    )
    assert leaks is not None
    assert (leaks["rows"], leaks["of_rows"]) == (600, 1_200)
    assert describe_audit(leaks).startswith("600 of 1,200 rows, 5 folds by row")


def test_flaw_of_one_domain_is_found_though_over_all_rows_it_hides() -> None:
    random = np.random.default_rng(5)
    rows = make_rows(rows=2_400)
    # In one domain texts of machines are long, in the other those of people; over both it evens out.
    texts = [
        " ".join(text for _ in range(3 if (label_id == 0) == (place < 1_200) else 1))
        if random.random() < 0.6
        else text
        for place, (text, label_id) in enumerate(zip(rows["text"], rows["label_id"], strict=True))
    ]
    domains = pl.Series(["news\x1b"] * 1_200 + ["wiki"] * 1_200)
    rows = rows.with_columns(text=pl.Series(texts), topic=domains)
    leaks = audit(rows, domain_column="topic")
    fact = probes_of(leaks)["length"]
    assert fact["auroc"] < 0.6
    assert fact["is_warning"]
    assert fact["within"]["auroc"] > 0.7
    assert fact["within"]["rows"] == 1_200
    of_domain = rows.filter(pl.col("topic").str.starts_with(fact["within"]["domain"][:4]))
    assert {example["row_id"] for example in fact["examples"]} <= set(of_domain["row_id"])
    assert any(f"in {fact['within']['domain']}" in line for line in leak_warnings(leaks))
    assert not probes_of(audit(rows))["length"]["is_warning"]


def test_three_classes_are_audited_and_the_one_that_shows_is_named() -> None:
    rows = make_rows(rows=450).with_columns(label_id=pl.Series([0, 1, 2] * 150))
    shouting = pl.when(pl.col("label_id") == 2).then(pl.col("text").str.to_uppercase()).otherwise("text")
    fact = probes_of(audit(rows.with_columns(text=shouting), labels=("a", "b", "c")))["casing"]
    assert fact["auroc"] > 0.99
    assert fact["tell"]["label"] == "c"


def test_too_few_rows_are_not_judged() -> None:
    rows = make_rows(rows=LEAST_ROWS - 2)
    assert audit_leaks({"train": rows}, labels=LABELS, domain_column=None, seed=1) is None
    one_class = make_rows().with_columns(label_id=pl.lit(1, pl.Int64))
    assert audit_leaks({"train": one_class}, labels=LABELS, domain_column=None, seed=1) is None


def test_hostile_texts_are_audited_and_shown_escaped() -> None:
    rows = make_rows(lambda text: f"\x1b[31m\u202e<script>alert(1)</script>\x00{text}\u2028")
    leaks = audit(rows)
    shown = json.dumps([leak_table(leaks), leak_examples(leaks), leak_warnings(leaks)], ensure_ascii=False)
    assert leak_warnings(leaks)
    assert not set(shown) & set("\x1b\u202e\x00\u2028")


def test_prepare_publishes_the_audit_and_warns(tmp_path: Path) -> None:
    rows = make_rows(lambda text: text.replace(". ", ".\n"))
    source = rows.select("text", label=pl.col("label_id").replace_strict(dict(enumerate(LABELS))))
    source.write_csv(tmp_path / "leaky.csv")
    arguments = ["prepare", "--dataset", str(tmp_path / "leaky.csv"), "--root", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "White space (!)" in result.output
    assert "dataset.normalize=[collapse_whitespace] takes it out" in result.stderr
    published = json.loads((tmp_path / "out/datasets/leaky/prepared/audit.json").read_text())
    assert probes_of(published["leaks"])["white_space"]["is_warning"]
    assert published["written"]["train"] == 480
    cleaned = CliRunner().invoke(app, [*arguments, "--set", "dataset.normalize=[collapse_whitespace]"])
    assert "warning" not in cleaned.stderr
    off = CliRunner().invoke(app, [*arguments, "--force", "--set", "dataset.audit=false"])
    assert "Leak audit" not in off.output

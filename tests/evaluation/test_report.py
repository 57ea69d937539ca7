"""The report: whole, self-contained, and deaf to whatever the data says."""

import base64
import hashlib
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from qwenkit.evaluation.evaluate import compare_before_after
from qwenkit.evaluation.markdown import render_markdown
from qwenkit.evaluation.mistakes import find_worst_mistakes
from qwenkit.evaluation.page import ReportContext
from qwenkit.evaluation.plots import DARK_COLOURS, SERIES
from qwenkit.evaluation.report import render_report
from qwenkit.evaluation.sections import SECTIONS
from qwenkit.text.attacks import ATTACKS
from tests.evaluation.hostile_texts import HOSTILE
from tests.evaluation.html_page import Page


def decode(uri):
    prefix = "data:image/svg+xml;base64,"
    assert uri.startswith(prefix)
    return base64.b64decode(uri.removeprefix(prefix)).decode()


def test_a_full_report_has_every_section_once(full_context):
    page = Page(render_report(full_context))
    anchors = [attributes["id"] for attributes in page.find("section") if "id" in attributes]
    assert anchors == [
        "baselines",
        "thresholds",
        "ranking",
        "slices",
        "robustness",
        "calibration",
        "decisions",
        "mistakes",
        "leak-audit",
        "before-and-after",
        "training",
        "metrics",
        "provenance",
    ]
    assert len(anchors) == len(SECTIONS)
    assert [attributes["href"] for attributes in page.find("a")] == [f"#{anchor}" for anchor in anchors]
    text = " ".join(page.text)
    for part in (
        "qwen3-tiny-demo",
        "sha256:abc",
        "Word TF-IDF",
        "news",
        "What this cannot prove.",
        "After (all 120)",
    ):
        assert part in text
    assert "20,000 rows drawn from the 50,000 of the train split" in text
    assert page.declarations == ["doctype html"]


def test_the_leak_audit_names_the_trait_the_rule_and_rows_that_show_it(full_context, leaks):
    html = render_report(full_context)
    page = Page(html)
    text = " ".join(" ".join(page.text).split())
    assert "What the data give away" in text
    assert "White space alone tells the classes apart" in text
    assert "dataset.normalize=[collapse_whitespace] takes it out" in text
    assert "mist over cold hills" in text
    assert all(example["snippet"] in text for example in leaks["probes"][1]["examples"])
    assert "<script>alert" not in html
    assert not set(html) & set("\x1b\u202e\x00")


def test_a_report_on_clean_data_says_that_no_probe_tells(full_context, leaks):
    quiet = [{**fact, "is_warning": False} for fact in leaks["probes"]]
    text = " ".join(Page(render_report(replace(full_context, leaks={**leaks, "probes": quiet}))).text)
    assert "No probe of the surface tells the classes apart." in text
    assert "alone tells the classes apart" not in text


def test_a_report_of_nothing_but_an_evaluation_is_whole(make_evaluation):
    page = Page(render_report(ReportContext(title="x", evaluation=make_evaluation())))
    assert [attributes.get("id") for attributes in page.find("section")] == [None, "ranking", "decisions"]


def test_a_report_on_one_class_and_one_on_four_are_whole(make_evaluation, analyse_fully):
    one = make_evaluation(1)
    page = Page(render_report(ReportContext(title="x", evaluation=one)))
    assert not page.find("img")
    assert "Not every class has rows here" in " ".join(page.text)
    four = make_evaluation(80, labels=["a", "b", "c", "d"], skill=3.0)
    page = Page(render_report(ReportContext(title="x", evaluation=four, analysis=analyse_fully(four))))
    assert "picks the right one of 4 classes" in " ".join(page.text)
    assert {"a", "b", "c", "d"} <= set(page.text)


def test_nothing_is_loaded_and_nothing_can_run(full_context):
    html = render_report(full_context)
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {tag for tag, _ in page.tags}
    assert not [
        name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"
    ]
    assert not re.findall(r"https?:|//[a-z]", re.sub(r"data:image/svg\+xml;base64,[\w+/=]+", "", html))
    policy = next(meta["content"] for meta in page.find("meta") if "http-equiv" in meta)
    style = re.search(r"<style>(.*?)</style>", html, flags=re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_every_figure_has_an_alt_text_and_a_dark_twin_without_addresses(full_context):
    page = Page(render_report(full_context))
    assert len(page.find("img")) == len(page.find("source")) == 10
    for image, dark in zip(page.find("img"), page.find("source"), strict=True):
        assert len(image["alt"]) > 20
        assert int(image["width"]) > int(image["height"]) > 100
        light_svg, dark_svg = decode(image["src"]), decode(dark["srcset"])
        assert light_svg != dark_svg
        assert not [colour for colour in DARK_COLOURS if colour in dark_svg]
        for svg in (light_svg, dark_svg):
            ElementTree.fromstring(svg)
            assert set(re.findall(r"https?://[^\"]*", svg)) <= {
                "http://www.w3.org/2000/svg",  # names of the format, never fetched
                "http://www.w3.org/1999/xlink",
            }
            assert "<script" not in svg


def test_the_figures_colours_are_the_legends(full_context):
    css = re.search(r"<style>(.*?)</style>", render_report(full_context), flags=re.S).group(1)
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    for index, colour in enumerate(SERIES):
        assert f"--series-{index}: {colour};" in light
        assert f"--series-{index}: {DARK_COLOURS[colour]};" in dark


def test_the_same_numbers_give_the_same_bytes(full_context):
    assert render_report(full_context) == render_report(full_context)


@pytest.fixture
def report_full_of(make_evaluation, make_prepared, analyse_fully, make_robustness):
    """Render a report in which a text stands wherever one can come from outside."""

    def render(text):
        labels = [f"{text}1", f"{text}2"]
        evaluation = make_evaluation(
            30, labels=labels, **{f"{text}column": [text[:100] + str(row % 2) for row in range(30)]}
        )
        context = ReportContext(
            title=text or "x",
            subtitle=text or "x",
            evaluation=evaluation,
            comparison=compare_before_after(evaluation, evaluation),
            baselines={"words": evaluation.metrics},
            training_log=[{"step": text, "loss": text}, {"step": 1, "loss": 0.5, text: text}, {"step": 2}],
            analysis=analyse_fully(evaluation, slice_columns=[f"{text}column"]),
            robustness=make_robustness(evaluation, held_out_name=text or "x"),
            mistakes=find_worst_mistakes(
                evaluation,
                make_prepared(30, labels=labels, text=[text] * 30),
                place_columns=[f"{text}column"],
            ),
            provenance={text: {text: text}, "Settings": {"nested": {"a": [text]}}},
            notes=[text],
        )
        return render_report(context)

    return render


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_wherever_it_comes_from(hostile, report_full_of):
    html = report_full_of(hostile)

    def structure(page):
        return [(tag, sorted(attributes)) for tag, attributes in page.tags]

    harmless = report_full_of("harmless")
    assert structure(Page(html)) == structure(Page(harmless))
    assert not set(html) & {"\x00", "\x1b", "\r", "\t", "\u202e", "\u202c"}
    # Forty mistakes of 600 characters each, and names cut to 60; not a line of a megabyte.
    assert len(html) < len(harmless) + 100_000


def test_values_that_are_not_finite_are_left_out_of_the_training_curve(make_evaluation):
    log = [
        {"step": 1, "loss": None},
        {"step": 2, "loss": float("nan")},
        {"loss": 1.0},
        {"step": 3, "eval_loss": True},
    ]
    html = render_report(ReportContext(title="x", evaluation=make_evaluation(), training_log=log))
    assert 'id="training"' not in html
    log.append({"step": 4, "loss": 0.25})
    html = render_report(ReportContext(title="x", evaluation=make_evaluation(), training_log=log))
    assert "Training loss from 0.250 to 0.250 over 4 steps." in html


def test_a_report_on_many_rows_stays_small(make_evaluation):
    evaluation = make_evaluation(50_000, skill=1.0)
    log = [{"step": step, "loss": float(np.exp(-step))} for step in range(20_000)]
    html = render_report(ReportContext(title="x", evaluation=evaluation, training_log=log))
    assert len(html) < 300_000


def test_mistakes_are_the_surest_ones_of_each_kind(make_evaluation, make_prepared):
    evaluation = make_evaluation(400, skill=1.0)
    found = find_worst_mistakes(evaluation, make_prepared(400), place_columns=["domain_name"], limit=5)
    predictions = evaluation.predictions
    for kind, label in ((found.false_positives, "Human_Written"), (found.false_negatives, "AI_Generated")):
        assert len(kind) == 5
        wrong = predictions.filter((predictions["label"] == label) & ~predictions["correct"])
        given = wrong.select(
            pl.max_horizontal("probability_AI_Generated", "probability_Human_Written")
        ).to_series()
        assert [one.probability for one in kind] == sorted(given, reverse=True)[:5]
        assert all(one.text == f"text {one.row_id - 1_000}" for one in kind)
        assert all(one.place in ("news", "books", "wiki") for one in kind)


def test_a_model_without_mistakes_has_no_section_of_them(make_evaluation, make_prepared):
    perfect = make_evaluation(40, skill=50.0)
    found = find_worst_mistakes(perfect, make_prepared(40))
    html = render_report(ReportContext(title="x", evaluation=perfect, mistakes=found))
    assert 'id="mistakes"' not in html


def test_report_md_has_the_verdict_and_the_tables(full_context):
    text = render_markdown(full_context)
    for part in ("# qwen3-tiny-demo", "## Against simple baselines", "## At thresholds fixed beforehand"):
        assert part in text
    assert "## Worst slices" in text and "domain\\_name = news" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_robustness_says_what_the_worst_attack_does_and_against_what(full_context):
    html = render_report(full_context)
    text = " ".join("".join(Page(html).text).split())
    worst = full_context.robustness.attacks[0]
    assert f"under the worst attack ({worst.title})" in text
    assert "Misspelling (approximate) and Synonyms (approximate) stand in for attacks of RAID" in text
    assert all(attack.title in text for attack in ATTACKS.values())
    assert "What training never saw, beside the test split" in text
    markdown = render_markdown(full_context)
    assert "## Under attack, worst first" in markdown and "## Cut short" in markdown
    assert "| test\\_holdout\\_model |" in markdown


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_in_report_md(hostile, make_evaluation, make_robustness):
    evaluation = make_evaluation(30, labels=[f"{hostile}1", f"{hostile}2"])
    robustness = make_robustness(evaluation, held_out_name=hostile)
    text = render_markdown(
        ReportContext(title=hostile or "x", evaluation=evaluation, robustness=robustness, notes=[hostile])
    )
    assert not re.search(r"(?<!\\)[<>]", text.replace("&lt;", ""))
    assert not set(text) & {"\x00", "\x1b", "\r", "\t", "\u202e"}
    assert len(text) < 20_000

"""What gives a class away: every probe cross-validated by group, with the trait and the rows that show it.

A probe that sees only spaces, or only capitals, and still tells the classes apart has found a flaw of the
data: a model would learn it too, and score well for the wrong reason.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from qwenkit.console import safe_text
from qwenkit.text.folds import AuditedRows, measure_auroc
from qwenkit.text.normalize import normalize_text
from qwenkit.text.phrases import PhraseIndex, score_phrases
from qwenkit.text.probes import PROBES
from qwenkit.text.traits import (
    TRAITS,
    TraitFamily,
    cut_snippet,
    find_trait,
    judge_by_traits,
    measure_traits,
)

WARNING_AUROC = 0.7
# Costlier ones read fewer rows: their AUROC moves in the third digit.
REMEDY_ROWS = 4_000
PHRASE_ROWS = 5_000
WORD_ROWS = 3_000
# Inside fewer rows than this the AUROC of a coin comes too near the warning line.
LEAST_DOMAIN_ROWS = 400
# Eight families in each of many domains: the largest of so many chances must be further off.
DOMAIN_WARNING_AUROC = 0.75
WORD_FOLDS = 2
SHOWN_ROWS = 3
SHOWN_PHRASES = 20
MOST_PHRASE_CHARACTERS = 120
WORD_PROBES = ("words", "characters")


def audit_rows(rows: AuditedRows) -> Iterator[dict[str, Any]]:
    """Run all probes, surface traits first; each gives plain values for audit.json.

    Yields:
        name, title, looks_at, kind (traits, phrases, column, words), auroc, rows; is_warning; where it has
        found something also tell, examples, remedy, phrases; and within (domain, auroc, rows) where that is
        so inside one domain only, of which the others then speak.
    """
    for name, family in TRAITS.items():
        yield audit_traits(name, family, rows)
    yield audit_phrases(rows)
    for column in rows.columns:
        yield audit_column(column, rows)
    for name in WORD_PROBES:
        yield audit_words(name, rows)


def audit_traits(name: str, family: TraitFamily, rows: AuditedRows) -> dict[str, Any]:
    """Judge the rows by one family of traits; above the warning line also try the rules against it.

    What tells nothing over all rows may tell everything inside one domain, and is a flaw there.
    """
    values = measure_traits(rows.texts, family)
    auroc, label_id = _judge(values, rows)
    fact = _fact(name, "traits", family.title, family.looks_at, auroc, rows)
    within = None if fact["is_warning"] else _find_telling_domain(values, rows)
    if within is not None:
        domain, places, auroc, label_id = within
        rows, values = rows.take(places), values[places]
        fact["within"] = {
            "domain": safe_text(domain, limit=40),
            "auroc": _rounded(auroc),
            "rows": len(places),
        }
        fact["is_warning"] = True
    column, tell = _find_tell(values, family, label_id, rows)
    fact |= {"tell": tell, "examples": _show_rows(values[:, column], family, tell, rows)}
    if fact["is_warning"]:
        fact["remedy"] = _try_rules(family, rows.sample(REMEDY_ROWS))
    return fact


def audit_phrases(rows: AuditedRows) -> dict[str, Any]:
    """Judge the rows by phrases that one class repeats, and list them whatever the AUROC."""
    rows = rows.sample(PHRASE_ROWS)
    index = PhraseIndex(rows.texts)
    scores = rows.cross_validate(
        lambda is_test: score_phrases(
            index, rows.label_ids, rows.groups, n_classes=len(rows.labels), is_test=is_test
        ),
        folds=WORD_FOLDS,
    )
    auroc, _ = measure_auroc(scores, rows.label_ids)
    looks_at = "phrases that one class repeats and the others hardly know"
    fact = _fact("phrases", "phrases", "Boilerplate phrases", looks_at, auroc, rows)
    everywhere = np.ones(len(rows.texts), dtype=bool)
    found = index.find(rows.label_ids, rows.groups, n_classes=len(rows.labels), among=everywhere)
    fact["phrases"] = [
        {
            "phrase": safe_text(phrase.text, limit=MOST_PHRASE_CHARACTERS),
            "label": rows.labels[phrase.label_id],
            "share": _rounded(phrase.share),
            "share_elsewhere": _rounded(phrase.share_elsewhere),
            "row_ids": rows.row_ids[phrase.rows[:SHOWN_ROWS]].tolist(),
        }
        for phrase in found[:SHOWN_PHRASES]
    ]
    return fact


def audit_column(name: str, rows: AuditedRows) -> dict[str, Any]:
    """Judge the rows by one column beside the text, such as the corpus that they come from."""
    values, codes = np.unique(rows.columns[name], return_inverse=True)
    n_classes = len(rows.labels)

    def score_fold(is_test: np.ndarray) -> np.ndarray:
        counts = np.zeros((len(values), n_classes))
        np.add.at(counts, (codes[~is_test], rows.label_ids[~is_test]), 1)
        # One row of the overall mix: a value that the other folds lack says nothing.
        prior = np.bincount(rows.label_ids[~is_test], minlength=n_classes) / (~is_test).sum()
        shares = (counts + prior) / (counts.sum(axis=1, keepdims=True) + 1)
        return (shares / np.maximum(prior, 1e-9))[codes[is_test]]

    auroc, label_id = measure_auroc(rows.cross_validate(score_fold), rows.label_ids)
    shown = safe_text(name, limit=40)
    fact = _fact(f"column:{shown}", "column", f"Column {shown}", f"the column {shown} alone", auroc, rows)
    is_class = rows.label_ids == label_id
    sizes = np.bincount(codes)
    rates = np.bincount(codes, weights=is_class) / sizes
    best = int(np.argmax(np.abs(rates - is_class.mean()) * sizes))
    fact["tell"] = {
        "trait": f"{shown} = {safe_text(str(values[best]), limit=40)}",
        "label": rows.labels[label_id],
        "share_of_label": _rounded(rates[best]),
    }
    fact["examples"] = [_example(rows, int(row), 0) for row in np.flatnonzero(codes == best)[:SHOWN_ROWS]]
    if fact["is_warning"]:
        fact["remedy"] = {"rules": [], "auroc_after": None}
    return fact


def audit_words(name: str, rows: AuditedRows) -> dict[str, Any]:
    """Judge the rows by their words or characters: what content tells, and no flaw in itself."""
    probe = PROBES[name]
    rows = rows.sample(WORD_ROWS)

    def score_fold(is_test: np.ndarray) -> np.ndarray:
        taught = [text for text, is_asked in zip(rows.texts, is_test, strict=True) if not is_asked]
        asked = [text for text, is_asked in zip(rows.texts, is_test, strict=True) if is_asked]
        return probe.score(taught, rows.label_ids[~is_test], asked, len(rows.labels))

    auroc, _ = measure_auroc(rows.cross_validate(score_fold, folds=WORD_FOLDS), rows.label_ids)
    return _fact(name, "words", probe.title, probe.looks_at, auroc, rows)


def _judge(values: np.ndarray, rows: AuditedRows) -> tuple[float, int]:
    scores = rows.cross_validate(
        lambda is_test: judge_by_traits(
            values[~is_test], rows.label_ids[~is_test], values[is_test], len(rows.labels)
        )
    )
    return measure_auroc(scores, rows.label_ids)


def _find_telling_domain(values: np.ndarray, rows: AuditedRows) -> tuple[str, np.ndarray, float, int] | None:
    """Find the domain inside which the traits tell most, if they tell too much there."""
    judged = [
        (domain, places, *_judge(values[places], rows.take(places)))
        for domain, places in rows.list_domains(least_rows=LEAST_DOMAIN_ROWS)
    ]
    best = max(judged, key=lambda each: each[2], default=None)
    return best if best is not None and best[2] > DOMAIN_WARNING_AUROC else None


def _fact(name: str, kind: str, title: str, looks_at: str, auroc: float, rows: AuditedRows) -> dict[str, Any]:
    is_warning = kind != "words" and auroc > WARNING_AUROC
    return {
        "name": name,
        "kind": kind,
        "title": title,
        "looks_at": looks_at,
        "auroc": _rounded(auroc),
        "rows": len(rows.texts),
        "is_warning": is_warning,
    }


def _find_tell(
    values: np.ndarray, family: TraitFamily, label_id: int, rows: AuditedRows
) -> tuple[int, dict[str, Any]]:
    """Name the trait that alone tells most, and how often each class has it."""
    from sklearn.metrics import roc_auc_score

    is_class = rows.label_ids == label_id
    alone = [float(roc_auc_score(is_class, column)) for column in values.T]
    column = int(np.argmax(np.abs(np.array(alone) - 0.5)))
    others = values[~is_class, column]
    is_more = alone[column] >= 0.5
    more = label_id if is_more else _largest_class(values[:, column], rows, without=label_id)
    return column, {
        "trait": list(family.patterns)[column],
        "unit": "per 1,000 characters" if family.is_rate else "per text",
        "auroc": _rounded(max(alone[column], 1 - alone[column])),
        "label": rows.labels[more],
        "mean": _rounded(values[rows.label_ids == more, column].mean()),
        "mean_elsewhere": _rounded((others if is_more else values[is_class, column]).mean()),
        "share_with": _rounded((values[rows.label_ids == more, column] > 0).mean()),
        "share_with_elsewhere": _rounded(((others if is_more else values[is_class, column]) > 0).mean()),
    }


def _largest_class(values: np.ndarray, rows: AuditedRows, *, without: int) -> int:
    present = [label_id for label_id in np.unique(rows.label_ids).tolist() if label_id != without]
    return max(present, key=lambda label_id: float(values[rows.label_ids == label_id].mean()))


def _show_rows(
    values: np.ndarray, family: TraitFamily, tell: dict[str, Any], rows: AuditedRows
) -> list[dict[str, Any]]:
    """Show the rows that have most of a trait, in the class that has more of it, where it first stands."""
    of_class = np.flatnonzero(rows.label_ids == list(rows.labels).index(tell["label"]))
    order = of_class[np.argsort(-values[of_class], kind="stable")]
    pattern = family.patterns[tell["trait"]]
    shown = [int(row) for row in order[:SHOWN_ROWS] if values[row] > 0]
    is_place = family.patterns is not TRAITS["length"].patterns
    return [_example(rows, row, find_trait(rows.texts[row], pattern) if is_place else 0) for row in shown]


def _example(rows: AuditedRows, row: int, at: int | None) -> dict[str, Any]:
    return {
        "row_id": int(rows.row_ids[row]),
        "label": rows.labels[int(rows.label_ids[row])],
        "snippet": cut_snippet(rows.texts[row], at or 0),
    }


def _try_rules(family: TraitFamily, rows: AuditedRows) -> dict[str, Any]:
    """Find the rule, else all together, after which the family no longer tells: measured, not assumed."""
    attempts: list[tuple[str, ...]] = [(rule,) for rule in family.rules]
    if len(family.rules) > 1:
        attempts.append(family.rules)
    best: tuple[float, tuple[str, ...]] | None = None
    for rules in attempts:
        texts = [normalize_text(text, rules) for text in rows.texts]
        after, _ = _judge(measure_traits(texts, family), rows)
        if after <= WARNING_AUROC:
            return {"rules": list(rules), "auroc_after": _rounded(after)}
        best = min(best, (after, rules)) if best else (after, rules)
    if best is None:
        return {"rules": [], "auroc_after": None}
    return {"rules": [], "auroc_after": _rounded(best[0]), "best_tried": list(best[1])}


def _rounded(value: float) -> float:
    return round(float(value), 4)

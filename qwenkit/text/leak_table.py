"""The leak audit laid out for people: one table, its warnings, and the rows that show them.

Pure functions over the plain values of audit.json, for the terminal and the report alike.
"""

from collections.abc import Mapping
from typing import Any

from qwenkit.console import safe_text

NOTHING = "–"
# Below, the strongest trait is the loudest noise.
LEAST_AUROC_SHOWN = 0.55
LABEL_LIMIT = 60


def leak_table(leaks: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Lay the probes out as columns and rows of text, the most telling first, content last."""
    columns = ["A probe that sees only", "AUROC", "Strongest trait", "More in"]
    probes = sorted(leaks["probes"], key=lambda fact: (fact["kind"] == "words", -fact["auroc"]))
    return columns, [
        [
            fact["title"] + (" (!)" if fact["is_warning"] else ""),
            _show_auroc(fact),
            *_describe_tell(fact),
        ]
        for fact in probes
    ]


def leak_warnings(leaks: Mapping[str, Any]) -> list[str]:
    """Say of each probe over the line what gives the class away, and what would take it out."""
    return [_warn(fact) for fact in leaks["probes"] if fact["is_warning"]]


def leak_examples(leaks: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Lay out rows that show what was found, for every probe over the line; snippets hold no raw control."""
    columns = ["Probe", "Row", "Label", "Text"]
    return columns, [
        [
            fact["title"],
            str(example["row_id"]),
            safe_text(example["label"], limit=LABEL_LIMIT),
            example["snippet"],
        ]
        for fact in leaks["probes"]
        if fact["is_warning"]
        for example in fact.get("examples", ())
    ]


def phrase_table(leaks: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Lay out the phrases that one class repeats, whatever they are worth alone."""
    columns = ["Phrase", "Label", "Its rows", "Others' rows"]
    return columns, [
        [
            each["phrase"],
            safe_text(each["label"], limit=LABEL_LIMIT),
            _percent(each["share"]),
            _percent(each["share_elsewhere"]),
        ]
        for fact in leaks["probes"]
        for each in fact.get("phrases", ())
    ]


def describe_audit(leaks: Mapping[str, Any]) -> str:
    """Say in one sentence on what the table rests."""
    return (
        f"{leaks['rows']:,} of {leaks['of_rows']:,} rows, {leaks['folds']} folds by {leaks['folds_by']}; "
        f"0.5 is a coin, over {leaks['warning_auroc']:g} a warning"
    )


def _describe_tell(fact: Mapping[str, Any]) -> list[str]:
    tell = fact.get("tell")
    if fact["kind"] == "phrases" and fact["phrases"]:
        first = fact["phrases"][0]
        return [
            f"“{first['phrase']}” {_percent(first['share'])}",
            _show(first["label"]),
        ]
    if tell is None or (fact["auroc"] < LEAST_AUROC_SHOWN and not fact["is_warning"]):
        return [NOTHING, NOTHING]
    label = _show(tell["label"])
    if fact["kind"] == "column":
        return [f"{tell['trait']}, {_percent(tell['share_of_label'])}", label]
    return [f"{tell['trait']}, {_numbers(tell)}", label]


def _show_auroc(fact: Mapping[str, Any]) -> str:
    overall = f"{fact['auroc']:.3f}"
    within = fact.get("within")
    return f"{overall}, in {within['domain']} {within['auroc']:.3f}" if within else overall


def _numbers(tell: Mapping[str, Any]) -> str:
    return f"{tell['mean']:.3g} against {tell['mean_elsewhere']:.3g} {tell['unit']}"


def _warn(fact: Mapping[str, Any]) -> str:
    trait, label = _describe_tell(fact)
    where = ""
    if fact.get("examples"):
        where = f", e.g. row {fact['examples'][0]['row_id']}"
    found = f"{fact['title']} alone tells the classes apart (AUROC {_show_auroc(fact)}): "
    return f"{found}{trait}, more in {label}{where}. {_advise(fact)}"


def _advise(fact: Mapping[str, Any]) -> str:
    remedy = fact.get("remedy") or {"rules": [], "auroc_after": None}
    if remedy["rules"]:
        rules = ", ".join(remedy["rules"])
        return f"dataset.normalize=[{rules}] takes it out (AUROC {remedy['auroc_after']:.3f})."
    if fact["kind"] == "column":
        return "No rule of normalisation can; balance the sources, or hold one out."
    if remedy["auroc_after"] is None:
        return (
            "No rule of normalisation takes it out; balance the classes by it, or leave it out of the texts."
        )
    tried = ", ".join(remedy["best_tried"])
    return f"No rule of normalisation takes it out ({tried} leaves {remedy['auroc_after']:.3f})."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _show(label: str) -> str:
    return safe_text(label, limit=LABEL_LIMIT)

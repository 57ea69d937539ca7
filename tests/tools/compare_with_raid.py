"""Holds qwenkit's RAID protocol against the leaderboard's own code; run by `make test-raid`.

Usage: python -m tests.tools.compare_with_raid PYTHON, where PYTHON is that of an environment with raid-bench.
Thresholds, FPRs, counts and TPRs must be equal, AUROCs to 1e-12: both add up the same pairs in another order.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from qwenkit.errors import DataError
from qwenkit.evaluation.raid import normalise_ranks, run_protocol

REFERENCE = Path(__file__).with_name("raid_reference.py")
DOMAINS, ATTACKS = ("books", "news", "poetry"), ("none", "homoglyph")
MODELS = ("gpt4", "llama-chat")
SCHEMA = dict.fromkeys(("id", "domain", "attack", "model", "decoding", "repetition_penalty"), pl.String)


def draw_rows(rng: np.random.Generator, *, humans: int = 130, machine: int = 12) -> list[dict[str, Any]]:
    """Draw labelled rows in RAID's shape, in random order: humans have neither decoding nor penalty."""
    rows: list[dict[str, Any]] = []
    for domain in DOMAINS:
        for attack in ATTACKS:
            facts = {"domain": domain, "attack": attack}
            empty = {"decoding": None, "repetition_penalty": None}
            rows += [{**facts, "model": "human", **empty} for _ in range(humans)]
            for model in MODELS:
                for decoding in ("greedy", "sampling"):
                    penalties = ("no", "yes") if model == "llama-chat" else (None,)
                    rows += [
                        {**facts, "model": model, "decoding": decoding, "repetition_penalty": penalty}
                        for penalty in penalties
                        for _ in range(machine)
                    ]
    order = rng.permutation(len(rows))
    return [{"id": f"row-{number}", **rows[place]} for number, place in enumerate(order)]


def draw_scores(kind: str, rows: list[dict[str, Any]], rng: np.random.Generator) -> np.ndarray:
    """Draw scores of one kind: random, ranked, tied, saturated, missing, degenerate ..."""
    is_machine = np.array([row["model"] != "human" for row in rows])
    scores = rng.normal(size=len(rows)) + 1.5 * is_machine
    if kind == "ranked":
        return normalise_ranks(scores)
    if kind == "tied":
        return np.round(scores) / 4
    if kind == "saturated":
        return 1 / (1 + np.exp(-12 * scores))
    if kind == "missing":
        return np.where(rng.random(len(rows)) < 0.05, np.nan, normalise_ranks(scores))
    if kind == "no human scores":
        in_books = np.array([row["domain"] == "books" for row in rows])
        return np.where(in_books & ~is_machine, np.nan, scores)
    if kind == "constant":
        return np.full(len(rows), 0.5)
    if kind == "two values":
        return is_machine.astype(np.float64)
    if kind == "reversed":
        return normalise_ranks(-scores)
    if kind == "far apart":
        return scores * 1e6
    return 1 / (1 + np.exp(-scores))


def make_cases() -> list[dict[str, Any]]:
    """Combine kinds of scores, seeds and options."""
    cases = []
    kinds = (
        "random",
        "ranked",
        "tied",
        "saturated",
        "missing",
        "constant",
        "two values",
        "reversed",
        "far apart",
        "no human scores",
    )
    for kind in kinds:
        for seed in range(3):
            rng = np.random.default_rng(seed)
            rows = draw_rows(rng, humans=(130, 40, 211)[seed])
            for row, score in zip(rows, draw_scores(kind, rows, rng).tolist(), strict=True):
                if not math.isnan(score):
                    row["score"] = score
            for options in (
                {"target_fpr": [0.05, 0.01]},
                {"target_fpr": [0.05], "per_domain_tuning": False},
                {"target_fpr": [0.05], "require_complete": False},
            ):
                cases.append({"name": f"{kind}, seed {seed}, {options}", "rows": rows, "options": options})
    return cases


def run_ours(case: dict[str, Any]) -> dict[str, Any]:
    """Evaluate a case with qwenkit's protocol."""
    rows = pl.DataFrame(case["rows"], schema={**SCHEMA, "score": pl.Float64})
    names = {"target_fpr": "target_fprs", "per_domain_tuning": "per_domain"}
    options = {names.get(name, name): value for name, value in case["options"].items()}
    try:
        return run_protocol(rows, **options)
    except DataError as error:
        return {"error": str(error)}


def find_difference(ours: dict[str, Any], reference: dict[str, Any]) -> str:
    """Name the first difference; an empty string where there is none."""
    if "error" in ours or "error" in reference:
        is_same = ("error" in ours) == ("error" in reference)
        return "" if is_same else f"one fails: {ours.get('error')} / {reference.get('error')}"
    for name in ("thresholds", "fpr"):
        if ours[name] != reference[name]:
            return f"{name}: {ours[name]} / {reference[name]}"
    if len(ours["scores"]) != len(reference["scores"]):
        return f"{len(ours['scores'])} / {len(reference['scores'])} splits"
    for mine, theirs in zip(ours["scores"], reference["scores"], strict=True):
        if {**mine, "auroc": 0} != {**theirs, "auroc": 0}:
            return f"{mine} / {theirs}"
        if abs(mine["auroc"] - theirs["auroc"]) > 1e-12:
            return f"AUROC of {mine}: {theirs['auroc']}"
    return ""


def main(python: str) -> int:
    """Compare all cases; the exit code is 1 where one differs."""
    cases = make_cases()
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "cases.json"), Path(folder, "results.json")
        given.write_text(json.dumps(cases))
        subprocess.run([python, str(REFERENCE), str(given), str(found)], check=True)
        references = json.loads(found.read_text())
    failed, splits, refused = 0, 0, 0
    for case, reference in zip(cases, references, strict=True):
        ours = run_ours(case)
        difference = find_difference(ours, reference)
        splits += len(reference.get("scores", ()))
        refused += "error" in reference
        if difference:
            failed += 1
            sys.stdout.write(f"DIFFERS {case['name']}: {difference[:600]}\n")
    sys.stdout.write(
        f"{len(cases)} cases, {splits} splits, {refused} refused by both, {failed} that differ\n"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

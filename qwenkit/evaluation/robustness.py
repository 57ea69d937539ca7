"""How a model stands up to attacks, to short texts, and to generators and domains that it never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy.special import betaincinv

from qwenkit.evaluation.analysis import choose_main_decision, flag_rows, read_scored, score_positive
from qwenkit.evaluation.bootstrap import (
    LEVEL,
    Interval,
    Resampling,
    count_groups,
    draw_metrics,
    percentile_interval,
)
from qwenkit.evaluation.challenges import ATTACK, CLEAN, HELD_OUT, LENGTH, Challenges, Variant
from qwenkit.evaluation.evaluate import Evaluation
from qwenkit.evaluation.operating_points import GROUP_COLUMN
from qwenkit.evaluation.slices import Rates, Slice, SliceMeasure, SliceResult, bound_slice, describe_interval
from qwenkit.evaluation.uncertainty import (
    ScoredRows,
    bound_paired_share,
    count_smaller_class_groups,
    join_measures,
    pick_drawn,
)
from qwenkit.modeling.operating_point import OperatingPoint
from qwenkit.text.attacks import ATTACKS

UNCHANGED = Interval(value=0.0, low=0.0, high=0.0)
"""Of rows whose tokens are all as they were: the model gives them what it gave them before."""


@dataclass(frozen=True, kw_only=True)
class ChallengeResult:
    """One way of changing the texts, or one held-out split, measured."""

    kind: str
    name: str
    measured: SliceResult
    changed_rows: int = 0
    auroc_change: Interval | None = None
    """Against the same rows as they are; None where the rows are others, or the AUROC is undefined."""
    rate_changes: Mapping[str, Rates] | None = None

    @property
    def title(self) -> str:
        """Name it for people."""
        if self.kind == ATTACK:
            return ATTACKS[self.name].title
        return f"First {self.name} tokens" if self.kind == LENGTH else self.name

    def to_json(self) -> dict[str, Any]:
        """Lay it out for metrics.json."""
        measured = self.measured.to_json()
        del measured["column"], measured["value"]
        changes = self.rate_changes
        return {
            "name": self.name,
            **({"rate": ATTACKS[self.name].rate} if self.kind == ATTACK else {}),
            **({"approximates": ATTACKS[self.name].approximates} if self.kind == ATTACK else {}),
            **measured,
            "changed_rows": self.changed_rows,
            "change": changes
            and {
                "auroc": describe_interval(self.auroc_change),
                "rates": {
                    name: {"fpr": describe_interval(change.fpr), "tpr": describe_interval(change.tpr)}
                    for name, change in changes.items()
                },
            },
        }


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """All challenges, measured; `clean` is the sample as it is, `test` are all rows."""

    decision: str
    clean: ChallengeResult
    attacks: Sequence[ChallengeResult]
    """Worst first."""
    lengths: Sequence[ChallengeResult]
    """Shortest first."""
    test: ChallengeResult
    held_out: Sequence[ChallengeResult]
    draws: int

    def to_json(self) -> dict[str, Any]:
        """Lay it out for metrics.json."""
        return {
            "decision": self.decision,
            "draws": self.draws,
            "clean": self.clean.to_json(),
            "attacks": [one.to_json() for one in self.attacks],
            "lengths": [one.to_json() for one in self.lengths],
            "test": self.test.to_json(),
            "held_out": [one.to_json() for one in self.held_out],
        }


def measure_robustness(
    evaluation: Evaluation,
    challenges: Challenges,
    *,
    points: Sequence[OperatingPoint] = (),
    draws: int = 1_000,
    seed: int = 42,
) -> Robustness:
    """Measure every challenge at the frozen thresholds, and what it changes on the very same rows."""
    points = points if len(evaluation.labels) == 2 else ()
    everything = read_scored(evaluation)
    predictions = evaluation.predictions
    places = pl.DataFrame({"row_id": challenges.row_ids}).join(
        predictions.select("row_id").with_row_index("place"), on="row_id", how="left", maintain_order="left"
    )["place"]
    sample = places.to_numpy()
    groups = predictions[GROUP_COLUMN].to_numpy() if GROUP_COLUMN in predictions.columns else None
    clean = _take(everything, everything.logits[sample], everything.label_ids[sample])
    options: dict[str, Any] = {"points": points, "draws": draws, "seed": seed}
    first, *changed = _measure_variants(
        clean, challenges.variants, groups=None if groups is None else groups[sample], **options
    )
    decision = choose_main_decision(points)
    attacks = [one for one in changed if one.kind == ATTACK]
    return Robustness(
        decision=decision,
        clean=first,
        attacks=sorted(attacks, key=lambda one: (-one.measured.error_at(decision), one.name)),
        lengths=sorted((one for one in changed if one.kind == LENGTH), key=lambda one: int(one.name)),
        test=_measure_alone(everything, HELD_OUT, "test", groups=groups, **options),
        held_out=[
            _measure_alone(
                _take(everything, one.logits, one.rows["label_id"].to_numpy()),
                HELD_OUT,
                one.name,
                groups=one.rows[GROUP_COLUMN].to_numpy() if GROUP_COLUMN in one.rows.columns else None,
                **options,
            )
            for one in challenges.held_out
        ],
        draws=draws,
    )


def _take(like: ScoredRows, logits: np.ndarray, label_ids: np.ndarray) -> ScoredRows:
    return ScoredRows(
        logits=logits.astype(np.float64),
        label_ids=label_ids,
        positive_id=like.positive_id,
        temperature=like.temperature,
    )


def _prepare(
    rows: ScoredRows, points: Sequence[OperatingPoint]
) -> tuple[SliceMeasure, dict[str, np.ndarray]]:
    scores = score_positive(rows)
    flagged = flag_rows(rows, scores, points)
    measure = SliceMeasure(
        np.arange(len(scores)),
        scores=scores,
        is_positive=rows.is_positive,
        is_correct=rows.predicted_ids == rows.label_ids,
        flagged=flagged,
    )
    return measure, flagged


def _measure_alone(
    rows: ScoredRows,
    kind: str,
    name: str,
    *,
    groups: np.ndarray | None,
    points: Sequence[OperatingPoint],
    draws: int,
    seed: int,
) -> ChallengeResult:
    """Measure rows that nothing is compared with, on draws of their own."""
    resampling = Resampling(rows.label_ids, groups=groups, draws=draws, seed=seed)
    measure, _ = _prepare(rows, points)
    cut = Slice(column=kind, value=name, row_numbers=measure.row_numbers)
    drawn = draw_metrics(resampling, measure)
    measured = bound_slice(cut, measure, drawn, resampling=resampling, is_positive=rows.is_positive)
    return ChallengeResult(kind=kind, name=name, measured=measured)


def _measure_variants(
    clean: ScoredRows,
    variants: Sequence[Variant],
    *,
    groups: np.ndarray | None,
    points: Sequence[OperatingPoint],
    draws: int,
    seed: int,
) -> list[ChallengeResult]:
    """Measure the clean rows and every variant of them on the same draws; the clean ones come first."""
    resampling = Resampling(clean.label_ids, groups=groups, draws=draws, seed=seed)
    unchanged = np.zeros(len(clean.label_ids), dtype=bool)
    everything = [Variant(kind=CLEAN, name=CLEAN, logits=clean.logits, is_changed=unchanged), *variants]
    prepared = [_prepare(_take(clean, one.logits, clean.label_ids), points) for one in everything]
    parts = [(str(place), measure) for place, (measure, _) in enumerate(prepared)]
    drawn = draw_metrics(resampling, join_measures(parts))
    results: list[ChallengeResult] = []
    for place, (variant, (measure, flagged)) in enumerate(zip(everything, prepared, strict=True)):
        own = pick_drawn(drawn, str(place))
        cut = Slice(column=variant.kind, value=variant.name, row_numbers=measure.row_numbers)
        result = ChallengeResult(
            kind=variant.kind,
            name=variant.name,
            measured=bound_slice(cut, measure, own, resampling=resampling, is_positive=clean.is_positive),
            changed_rows=int(variant.is_changed.sum()),
        )
        if place:
            before = pick_drawn(drawn, "0")
            result = replace(
                result,
                auroc_change=_bound_auroc_change((results[0], before), (result, own), clean, resampling),
                rate_changes=_bound_rate_changes(
                    prepared[0][1], flagged, variant.is_changed, clean.is_positive, resampling
                ),
            )
        results.append(result)
    return results


def _bound_auroc_change(
    first: tuple[ChallengeResult, Mapping[str, np.ndarray]],
    second: tuple[ChallengeResult, Mapping[str, np.ndarray]],
    rows: ScoredRows,
    resampling: Resampling,
) -> Interval | None:
    """Bound the difference of two AUROCs, each given with its draws."""
    (before, before_drawn), (after, after_drawn) = first, second
    if before.measured.auroc is None or after.measured.auroc is None:
        return None
    if not after.changed_rows:
        return UNCHANGED
    value = after.measured.auroc.value - before.measured.auroc.value
    change = percentile_interval(value, after_drawn["auroc"] - before_drawn["auroc"])
    if change is None or change.low < change.high:
        return change
    # No draw can tell the two apart, e.g. both perfect; what was not seen in n is bounded as for one AUROC.
    reach = float(betaincinv(1, count_smaller_class_groups(rows.label_ids, resampling), LEVEL))
    return Interval(value=value, low=value - reach, high=value + reach)


def _bound_rate_changes(
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    is_changed: np.ndarray,
    is_positive: np.ndarray,
    resampling: Resampling,
) -> dict[str, Rates]:
    """Bound how the rates of each decision change."""

    def bound(decision: str, among: np.ndarray) -> Interval | None:
        if among.any() and not is_changed[among].any():
            return UNCHANGED
        first, second = before[decision][among], after[decision][among]
        return bound_paired_share(
            int((second & ~first).sum()),
            int((first & ~second).sum()),
            int(among.sum()),
            n_groups=count_groups(resampling.group_ids, among),
        )

    return {name: Rates(fpr=bound(name, ~is_positive), tpr=bound(name, is_positive)) for name in before}

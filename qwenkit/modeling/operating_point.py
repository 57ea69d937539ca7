"""A threshold that was chosen before the test: what it promises, and what it decides about a text."""

import re
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from qwenkit.errors import ConfigError
from qwenkit.metrics import log_odds

UNCERTAIN = "uncertain"
SPECIFICATION = re.compile(r"^fpr=(\d*\.?\d+(?:[eE]-?\d+)?)(\s*%)?$")
# A target that allows fewer false positives than this on the rows at hand is chosen by one or two texts.
FEW_FALSE_POSITIVES = 3


class OperatingPoint(BaseModel):
    """A threshold for one target false-positive rate, chosen on validation and frozen.

    Scores are the log-odds of the positive class, with the temperature applied: a text is flagged at
    `threshold` or above.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_fpr: float = Field(gt=0, lt=1)
    threshold: float | None
    """Least log-odds that is flagged; None flags nothing, because no threshold keeps to the target."""

    clearance: float | None = None
    """Largest log-odds at which a text is called negative where one may abstain; None clears nothing. At most
    the target's share of positives lies there. What is above it and below the threshold is uncertain."""

    fpr: float = Field(ge=0, le=1)
    """Share of the validation negatives that it flags, never above the target."""

    fpr_interval: tuple[float, float]
    """Where the rate on new texts of the same kind lies, with 95 % confidence."""

    tpr: float = Field(ge=0, le=1)
    """Share of the validation positives that it flags."""

    coverage: float = Field(ge=0, le=1)
    """Share of validation that is not in the band of abstention."""

    negatives: int = Field(ge=1)
    """Validation negatives that it was chosen on."""

    @property
    def name(self) -> str:
        """Name it as --operating-point does: fpr=0.01."""
        return name_operating_point(self.target_fpr)

    @property
    def probability(self) -> float | None:
        """The threshold as a probability of the positive class, for people; decisions use the log-odds."""
        return None if self.threshold is None else float(1 / (1 + np.exp(-self.threshold)))

    @property
    def is_well_supported(self) -> bool:
        """Whether enough negatives were there to place it; else one or two texts decided."""
        return self.target_fpr * self.negatives >= FEW_FALSE_POSITIVES

    def flag(self, scores: np.ndarray) -> np.ndarray:
        """Tell which log-odds are flagged, boolean, shape (rows,)."""
        return scores >= (np.inf if self.threshold is None else self.threshold)

    def abstain(self, scores: np.ndarray) -> np.ndarray:
        """Tell which log-odds lie in the band between clearance and threshold, boolean, shape (rows,)."""
        return ~self.flag(scores) & (scores > (-np.inf if self.clearance is None else self.clearance))


def decide(
    logits: np.ndarray,
    point: OperatingPoint,
    *,
    labels: Sequence[str],
    positive_label: str,
    temperature: float,
    may_abstain: bool = False,
) -> list[str]:
    """Decide texts at an operating point: a label each, or "uncertain" in the band of abstention.

    Args:
        logits: As the model gives them, shape (rows, 2).
    """
    positive_id = list(labels).index(positive_label)
    scores = log_odds(logits, positive_id, temperature=temperature)
    negative_label = labels[1 - positive_id]
    decisions = np.where(point.flag(scores), positive_label, negative_label).astype(object)
    if may_abstain:
        decisions[point.abstain(scores)] = UNCERTAIN
    return [str(decision) for decision in decisions]


def name_operating_point(target_fpr: float) -> str:
    """Name an operating point by its target: fpr=0.01."""
    return f"fpr={target_fpr:g}"


def parse_operating_point(specification: str) -> float:
    """Read the target out of `fpr=0.01` or `fpr=1%`.

    Raises:
        ConfigError: It is neither, or not a rate between 0 and 1.
    """
    match = SPECIFICATION.match(specification.strip().lower())
    target = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < target < 1:
        raise ConfigError(
            f'"{specification[:60]}" is no operating point: expected a target false-positive rate between '
            "0 and 1, e.g. fpr=0.01 or fpr=1%."
        )
    return target

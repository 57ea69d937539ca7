"""What a model is scored on beside its rows as they are: attacked, cut short, and what it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

ATTACK, LENGTH, HELD_OUT, CLEAN = "attack", "length", "held out", "clean"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The sampled rows once more, their texts changed in one way.

    Attributes:
        kind: attack, or length.
        name: Of the attack, or the number of tokens that were left.
        logits: Shape (rows, classes), in the order of the sample.
        is_changed: Whether the model saw other tokens than in the clean text, shape (rows,).
    """

    kind: str
    name: str
    logits: np.ndarray
    is_changed: np.ndarray


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Rows of a split that training never saw anything of, as dataset.holdout makes them."""

    name: str
    rows: pl.DataFrame
    logits: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Challenges:
    """What a model was scored on beside the rows as they are.

    Attributes:
        row_ids: The sample of the scored rows that was changed, shape (rows,).
    """

    row_ids: np.ndarray
    variants: Sequence[Variant]
    held_out: Sequence[HeldOut] = ()

"""Whether an export says the same as the model that was trained, measured on validation rows."""

import math
from typing import Any

import numpy as np

from qwenkit.errors import ArtifactError
from qwenkit.modeling.loading import LoadedClassifier


def measure_parity(
    reference_logits: np.ndarray, exported_logits: np.ndarray, *, max_logit_difference: float = 0.1
) -> dict[str, Any]:
    """Compare two models' logits on the same rows.

    Args:
        reference_logits: Of the model as it was trained, shape (rows, classes), the temperature applied.
        exported_logits: Of the export, read back from disk, in the same shape.
        max_logit_difference: Largest difference that counts as the same; times the spread of the reference
            logits where that is above 1, because rounding grows with what is rounded.

    Returns:
        rows, max_abs and mean_abs logit difference, reference_std (the spread), difference_allowed, rows_over
        (rows with a larger difference, or one that is not finite), label_flips (rows whose likeliest class
        changed).
    """
    difference = np.abs(reference_logits.astype(np.float64) - exported_logits.astype(np.float64))
    flips = reference_logits.argmax(axis=1) != exported_logits.argmax(axis=1)
    spread = float(reference_logits.std(dtype=np.float64))
    allowed = max_logit_difference * max(1.0, spread)
    return {
        "rows": len(reference_logits),
        "max_abs": float(difference.max()),
        "mean_abs": float(difference.mean()),
        "reference_std": spread,
        "difference_allowed": allowed,
        # Asked this way round, NaN counts as over.
        "rows_over": int((~(difference.max(axis=1) <= allowed)).sum()),
        "label_flips": int(flips.sum()),
    }


def check_parity(
    parity: dict[str, Any], *, format_name: str, max_label_flips: float, advice: str = ""
) -> None:
    """Refuse an export that says something else than the trained model.

    Args:
        parity: From measure_parity.
        max_label_flips: Share of rows, rounded up to whole ones, that may change their class or differ by
            more than is allowed. Where a network is steep, half precision moves a single document far.
        advice: What would bring the export closer.

    Raises:
        ArtifactError: More rows changed, or a logit is not finite.
    """
    rows_allowed = math.ceil(max_label_flips * parity["rows"])
    changed = max(parity["label_flips"], parity["rows_over"])
    if changed <= rows_allowed and math.isfinite(parity["max_abs"]):
        return
    raise ArtifactError(
        f"the {format_name} export differs from the trained model and was not kept: of {parity['rows']} "
        f"validation rows {parity['rows_over']} differ by more than {parity['difference_allowed']:.3g} in a "
        f"logit (the largest by {parity['max_abs']:.3g}) and {parity['label_flips']} change their label; "
        f"{rows_allowed} may. "
        "Raise export.max_logit_difference or export.max_label_flips if that is acceptable"
        f"{f', or {advice}' if advice else ''}."
    )


def score_calibrated(loaded: LoadedClassifier, input_ids: Any) -> np.ndarray:
    """Score documents as logits with the temperature applied, float32, shape (rows, classes)."""
    from qwenkit.modeling.predictor import DOCUMENTS_PER_BATCH, predict_logits

    bundle = loaded.bundle
    logits = predict_logits(
        loaded.model,
        input_ids,
        pad_token_id=bundle.pad_token_id,
        batch_tokens=DOCUMENTS_PER_BATCH * bundle.max_length,
        dtype=bundle.dtype,
    )
    return logits / np.float32(bundle.temperature)


def center_logits(logits: np.ndarray) -> np.ndarray:
    """Take from each row its mean: what all its logits share, no softmax shows."""
    return logits - logits.mean(axis=1, keepdims=True)


def choose_rows(total: int, rows: int) -> np.ndarray:
    """Pick up to `rows` row numbers spread evenly over a split, the same each time."""
    return np.unique(np.linspace(0, total - 1, num=min(rows, total)).round().astype(np.int64))

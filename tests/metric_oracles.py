"""Metrics written out naively, and the scored rows that they are tried on."""

import itertools
import math

import numpy as np
from hypothesis import strategies as st

LABELS = ["AI_Generated", "Human_Written"]
# Both sides compute in float64; only the order of the sums differs.
EXACT = {"rel": 1e-12, "abs": 1e-12}


@st.composite
def scored_rows(draw, n_classes=2, all_classes=False):
    """Logits on a coarse grid (so that ties are common) or anywhere, with their true classes."""
    n_rows = draw(st.integers(n_classes if all_classes else 1, 40))
    value = draw(
        st.sampled_from(
            [st.integers(-3, 3).map(lambda n: n / 2), st.floats(-20, 20, width=32), st.just(0.25)]
        )
    )
    logits = draw(
        st.lists(st.lists(value, min_size=n_classes, max_size=n_classes), min_size=n_rows, max_size=n_rows)
    )
    label_ids = draw(st.lists(st.integers(0, n_classes - 1), min_size=n_rows, max_size=n_rows))
    if all_classes:
        label_ids[:n_classes] = range(n_classes)
    return np.array(logits, dtype=np.float32), np.array(label_ids)


def naive_probabilities(logits):
    rows = []
    for row in logits.astype(np.float64).tolist():
        exponentials = [math.exp(value - max(row)) for value in row]
        rows.append([value / math.fsum(exponentials) for value in exponentials])
    return np.array(rows)


def naive_auroc(scores, is_positive):
    """Share of (positive, negative) pairs in the right order, ties counted half."""
    pairs = [(p, n) for p in scores[is_positive] for n in scores[~is_positive]]
    return sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)


def naive_rates(scores, is_positive, threshold):
    flagged = scores >= threshold
    return flagged[is_positive].mean(), flagged[~is_positive].mean()


def naive_average_precision(scores, is_positive):
    total, previous_recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        flagged = scores >= threshold
        recall = (flagged & is_positive).sum() / is_positive.sum()
        total += (recall - previous_recall) * (flagged & is_positive).sum() / flagged.sum()
        previous_recall = recall
    return total


def naive_partial_auroc(scores, is_positive, limit=0.05):
    """Area under the stepwise-linear ROC up to the limit, scaled by McClish's rule."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        tpr, fpr = naive_rates(scores, is_positive, threshold)
        points.append((float(fpr), float(tpr)))
    area = 0.0
    for (fpr, tpr), (next_fpr, next_tpr) in itertools.pairwise(points):
        if fpr < limit < next_fpr:
            next_tpr = tpr + (next_tpr - tpr) * (limit - fpr) / (next_fpr - fpr)
            next_fpr = limit
        if next_fpr <= limit:
            area += (next_fpr - fpr) * (tpr + next_tpr) / 2
    lowest = limit**2 / 2
    return 0.5 * (1 + (area - lowest) / (limit - lowest))


def naive_ece(stated, came_true, n_bins=15):
    """Equal-mass bins, filled in order of the probability; equal probabilities share the bin of the first."""
    order = sorted(range(len(stated)), key=lambda row: stated[row])
    bins = {}
    first_place = {}
    for place, row in enumerate(order):
        place = first_place.setdefault(stated[row], place)
        bins.setdefault(place * n_bins // len(stated), []).append(row)
    gaps = [
        abs(math.fsum(stated[row] for row in rows) - sum(bool(came_true[row]) for row in rows))
        for rows in bins.values()
    ]
    return math.fsum(gaps) / len(stated)


def naive_tpr_at_fpr(scores, is_positive, target):
    tprs = [0.0]
    for threshold in set(scores.tolist()):
        tpr, fpr = naive_rates(scores, is_positive, threshold)
        if fpr <= target:
            tprs.append(tpr)
    return max(tprs)

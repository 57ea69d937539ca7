"""The rows that an audit reads, and cross-validation that never splits a group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

FOLDS = 5

ScoreFold = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class AuditedRows:
    """The rows that the probes see.

    Attributes:
        label_ids: Shape (rows,).
        groups: Rows of one number are never on both sides of a fold, shape (rows,).
        row_ids: What reports call the rows, shape (rows,).
        labels: Class names in id order.
        seed: Decides folds and subsamples.
        columns: Columns beside the text that may tell the class, as text.
        domain_column: The one of them by which a leak is looked for inside each domain too.
    """

    texts: Sequence[str]
    label_ids: np.ndarray
    groups: np.ndarray
    row_ids: np.ndarray
    labels: Sequence[str]
    seed: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    domain_column: str | None = None

    def sample(self, size: int) -> "AuditedRows":
        """Draw so many rows, in their order; all where there are no more."""
        if len(self.texts) <= size:
            return self
        drawn = np.random.default_rng(self.seed).choice(len(self.texts), size=size, replace=False)
        return self.take(np.sort(drawn))

    def take(self, rows: np.ndarray) -> "AuditedRows":
        """Keep the rows of these places."""
        return AuditedRows(
            texts=[self.texts[row] for row in rows.tolist()],
            label_ids=self.label_ids[rows],
            groups=self.groups[rows],
            row_ids=self.row_ids[rows],
            labels=self.labels,
            seed=self.seed,
            columns={name: values[rows] for name, values in self.columns.items()},
            domain_column=self.domain_column,
        )

    def list_domains(self, *, least_rows: int) -> list[tuple[str, np.ndarray]]:
        """Give each domain and the places of its rows, where there are enough of two classes."""
        if self.domain_column is None or self.domain_column not in self.columns:
            return []
        values = self.columns[self.domain_column]
        found = []
        for domain in np.unique(values):
            rows = np.flatnonzero(values == domain)
            counts = np.sort(np.bincount(self.label_ids[rows], minlength=2))
            if len(rows) >= least_rows and counts[-2] >= least_rows // 4:
                found.append((str(domain), rows))
        return found

    def cross_validate(self, score_fold: ScoreFold, *, folds: int = FOLDS) -> np.ndarray:
        """Score every row by what the groups of the other folds taught, shape (rows, classes).

        Args:
            score_fold: (is_test, shape (rows,)) -> scores of the test rows, shape (test rows, classes).
        """
        names, group_of = np.unique(self.groups, return_inverse=True)
        dealt = np.random.default_rng(self.seed).permutation(len(names)) % folds
        fold_of = dealt[group_of]
        scores = np.zeros((len(fold_of), len(self.labels)))
        for fold in range(folds):
            is_test = fold_of == fold
            if is_test.any() and not is_test.all():
                scores[is_test] = score_fold(is_test)
        return scores


def measure_auroc(scores: np.ndarray, label_ids: np.ndarray) -> tuple[float, int]:
    """Give the AUROC of the class that is told best from all others, and that class.

    Args:
        scores: Shape (rows, classes).
    """
    from sklearn.metrics import roc_auc_score

    best = (0.0, 0)
    for label_id in range(scores.shape[1]):
        is_class = label_ids == label_id
        if is_class.any() and not is_class.all():
            margin = scores[:, label_id] - np.delete(scores, label_id, axis=1).max(axis=1)
            best = max(best, (float(roc_auc_score(is_class, margin)), label_id))
    return best

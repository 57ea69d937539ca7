"""The texts that the model is most wrong about: what a reader learns most from."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from qwenkit.evaluation.evaluate import Evaluation

SHOWN_MISTAKES = 20
TEXT_LIMIT = 600


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One row that went to the wrong class, and how sure the model was of it."""

    row_id: int
    text: str
    label: str
    predicted_label: str
    probability: float
    """Of the class that it was given."""
    place: str
    """Domain and the like, for people."""


@dataclass(frozen=True, kw_only=True)
class WorstMistakes:
    """The surest mistakes: negatives called positive, and positives called something else."""

    false_positives: Sequence[Mistake] = ()
    false_negatives: Sequence[Mistake] = ()


def find_worst_mistakes(
    evaluation: Evaluation,
    rows: pl.DataFrame,
    *,
    place_columns: Sequence[str] = (),
    limit: int = SHOWN_MISTAKES,
) -> WorstMistakes:
    """Find the mistakes that the model was surest of.

    Args:
        rows: The prepared split, with row_id and text.
        place_columns: Columns of the predictions that say where a text is from.
    """
    predictions = evaluation.predictions
    columns = [name for name in place_columns if name in predictions.columns]
    given = pl.concat_list([f"probability_{name}" for name in evaluation.labels]).list.get(
        pl.col("predicted_id")
    )
    wrong = (
        predictions.filter(~pl.col("correct"))
        .with_columns(given.alias("probability_given"))
        .sort(["probability_given", "row_id"], descending=[True, False])
    )
    is_called_positive = pl.col("predicted_label") == evaluation.positive_label
    is_positive = pl.col("label") == evaluation.positive_label
    return WorstMistakes(
        false_positives=_collect(wrong.filter(is_called_positive).head(limit), rows, columns),
        false_negatives=_collect(wrong.filter(is_positive).head(limit), rows, columns),
    )


def _collect(chosen: pl.DataFrame, rows: pl.DataFrame, columns: Sequence[str]) -> list[Mistake]:
    texts = chosen.select("row_id").join(
        rows.select("row_id", pl.col("text").str.head(TEXT_LIMIT + 1)),
        on="row_id",
        how="left",
        maintain_order="left",
    )["text"]
    return [
        Mistake(
            row_id=row["row_id"],
            text=text,
            label=row["label"],
            predicted_label=row["predicted_label"],
            probability=row["probability_given"],
            place=", ".join(str(row[name]) for name in columns if row[name] is not None),
        )
        for row, text in zip(chosen.iter_rows(named=True), texts, strict=True)
    ]

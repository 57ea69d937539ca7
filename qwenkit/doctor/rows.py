"""Facts about the data that a model is trained on, and the checks of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qwenkit.artifacts import Manifest
from qwenkit.doctor.finding import Finding, fail, ok, warn
from qwenkit.errors import DataError
from qwenkit.stages import SPLITS

# Of the documents of a split.
MUCH_TRUNCATION, TOO_MUCH_TRUNCATION = 0.1, 0.5


@dataclass(frozen=True)
class Rows:
    """Plain facts about prepared data.

    Attributes:
        labels: Class names in id order.
        truncated: Share of documents that lose their end, by split; None before tokenizing.
        repeated: Rows whose text stands in an earlier row of their split, by split.
        leaked: Rows of validation and test whose text is also in another split.
    """

    labels: list[str]
    truncated: Mapping[str, float] | None
    repeated: Mapping[str, int]
    leaked: int
    total: int


def read_rows(prepared: Path, tokenized: Manifest | None) -> Rows:
    """Read the texts of the splits and the counts of the tokenized ones.

    Raises:
        ArtifactError: A file is missing or cannot be read.
    """
    import polars as pl

    from qwenkit.data.prepared import read_labels, read_split

    splits = {split: read_split(prepared, split)["text"] for split in SPLITS}
    repeated = {split: texts.len() - texts.n_unique() for split, texts in splits.items()}
    unique = pl.concat([texts.unique() for texts in splits.values()])
    truncated = None
    if tokenized is not None:
        truncated = {split: float(tokenized.counts[split]["truncated_share"]) for split in SPLITS}
    return Rows(
        labels=list(read_labels(prepared).names),
        truncated=truncated,
        repeated=repeated,
        leaked=unique.len() - unique.n_unique(),
        total=sum(texts.len() for texts in splits.values()),
    )


def check_truncation(rows: Rows) -> Finding:
    """See how many documents lose their end at max_length."""
    if rows.truncated is None:
        return warn("not known before the data is tokenized", "qwenkit tokenize")
    worst = max(rows.truncated, key=lambda split: rows.truncated[split])  # type: ignore[index]
    share = rows.truncated[worst]
    found = f"{share:.1%} of the {worst} documents are cut at max_length"
    if share > TOO_MUCH_TRUNCATION:
        return fail(found, "raise tokenization.max_length, or split the documents", DataError)
    if share > MUCH_TRUNCATION:
        return warn(found, "raise tokenization.max_length if the ends matter")
    return ok(found)


def check_duplicates(rows: Rows) -> Finding:
    """See that no text stands in two splits, which flatters every score, or twice in one."""
    if rows.leaked:
        return fail(
            f"{rows.leaked:,} texts stand in more than one split",
            "qwenkit prepare --force --set dataset.deduplicate=true",
            DataError,
        )
    repeated = {split: count for split, count in rows.repeated.items() if count}
    if repeated:
        told = ", ".join(f"{count:,} in {split}" for split, count in repeated.items())
        return warn(f"repeated texts: {told}", "qwenkit prepare --set dataset.deduplicate=true")
    return ok(f"no text of {rows.total:,} stands twice")

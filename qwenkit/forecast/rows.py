"""How many documents and tokens there are: read from what is on disk, or estimated, and said so."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwenkit.artifacts import Manifest, read_manifest
from qwenkit.runs import Workspace
from qwenkit.stages import SPLITS

# English prose; code and other languages have fewer.
CHARACTERS_PER_TOKEN = 4.0
SAMPLED_ROWS = 2000
# Rows of the RAID-derived sets once equal texts are dropped, and the mean of their lengths.
KNOWN_ROWS = {
    "10k": (8_006, 987, 988),
    "100k": (79_328, 9_898, 9_898),
    "1M": (730_533, 91_300, 91_300),
    "2M": (1_370_195, 171_256, 171_255),
}
KNOWN_MEAN_TOKENS = 275.0


@dataclass(frozen=True)
class RowFacts:
    """The splits in numbers.

    Attributes:
        rows: Documents, by split.
        tokens: Tokens after the cut, by split.
        longest: Tokens of the longest training document after the cut, if there is one.
        source: Where the numbers come from.
        is_estimate: The tokens were not counted.
    """

    rows: Mapping[str, int]
    tokens: Mapping[str, float]
    longest: int
    source: str
    is_estimate: bool

    def mean_tokens(self, split: str) -> float:
        """Give the mean length of a split's documents."""
        return self.tokens[split] / max(self.rows[split], 1)


def find_row_facts(
    workspace: Workspace, dataset: str | None, *, max_length: int, truncation: bool
) -> RowFacts | None:
    """Look for the tokenized data, else the prepared data, else the sizes of a known data set.

    Args:
        dataset: Its name as given to prepare; None takes the one prepared last.

    Returns:
        None where nothing is known.
    """
    prepared = workspace.find_prepared(dataset)
    if prepared is None:
        return _recall_known(dataset, max_length)
    tokenized = workspace.find_tokenized(prepared, max_length=max_length, truncation=truncation)
    most = max_length if truncation else None
    return _estimate_from_text(prepared, most) if tokenized is None else _read_tokenized(*tokenized, most)


def _read_tokenized(folder: Path, manifest: Manifest, most: int | None) -> RowFacts:
    counts: Mapping[str, Any] = manifest.counts
    return RowFacts(
        rows={split: counts[split]["rows"] for split in SPLITS},
        tokens={split: float(counts[split]["tokens_kept"]) for split in SPLITS},
        longest=_cut(counts["train"]["longest"], most),
        source=f"counted in {folder}",
        is_estimate=False,
    )


def _cut(length: int, most: int | None) -> int:
    return length if most is None else min(length, most)


def _estimate_from_text(prepared: Path, most: int | None) -> RowFacts | None:
    """Take the rows as they were written, and a mean length from the first of them.

    Args:
        most: Tokens at which documents are cut; None keeps them whole.
    """
    import polars as pl

    manifest = read_manifest(prepared)
    if manifest is None:
        return None
    rows = {split: int(manifest.counts["written"][split]) for split in SPLITS}
    texts = pl.read_parquet(prepared / "train.parquet", columns=["text"], n_rows=SAMPLED_ROWS)["text"]
    lengths = (texts.str.len_chars() / CHARACTERS_PER_TOKEN).clip(1, most)
    mean = float(lengths.mean() or 0.0)  # type: ignore[arg-type]
    return RowFacts(
        rows=rows,
        tokens={split: count * mean for split, count in rows.items()},
        longest=most or math.ceil(lengths.max() or 1),  # type: ignore[arg-type]
        source=f"estimated at {CHARACTERS_PER_TOKEN:g} characters a token; `qwenkit tokenize` counts them",
        is_estimate=True,
    )


def _recall_known(dataset: str | None, max_length: int) -> RowFacts | None:
    if dataset not in KNOWN_ROWS:
        return None
    rows = dict(zip(SPLITS, KNOWN_ROWS[dataset], strict=True))
    mean = min(KNOWN_MEAN_TOKENS, max_length)
    return RowFacts(
        rows=rows,
        tokens={split: count * mean for split, count in rows.items()},
        longest=max_length,
        source=f"estimated at {mean:g} tokens a document; `qwenkit prepare` and `tokenize` count them",
        is_estimate=True,
    )

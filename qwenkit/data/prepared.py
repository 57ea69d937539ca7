"""What the stage leaves on disk: a Parquet file a split, labels, audit and overlap, and the way back."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from qwenkit.data.cleaning import SplitAccount
from qwenkit.data.groups import GroupSummary
from qwenkit.data.labels import LabelTable
from qwenkit.data.overlap import Overlap
from qwenkit.data.parquet import read_parquet, write_parquet
from qwenkit.files import read_json, write_json


class SplitFiles(Mapping[str, pl.DataFrame]):
    """The splits of a prepared folder, each read when it is first asked for."""

    def __init__(self, folder: Path, heights: Mapping[str, int]) -> None:
        """Name them.

        Args:
            heights: Rows by split.
        """
        self.heights = heights
        self._folder = folder
        self._read: dict[str, pl.DataFrame] = {}

    def __getitem__(self, split: str) -> pl.DataFrame:
        if split not in self._read:
            if split not in self.heights:
                raise KeyError(split)
            self._read[split] = read_split(self._folder, split)
        return self._read[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self.heights)

    def __len__(self) -> int:
        return len(self.heights)


@dataclass(frozen=True)
class PreparedData:
    """Clean splits, and the account of how they came about.

    Attributes:
        splits: train, validation, test, and further test splits of what is held out; columns row_id, text,
            label, label_id, group, leaks_from_train, then the source's others.
        labels: Names, counts a split, class weights.
        accounts: By split as the source has it ("all" for a set in one piece).
        groups: How rows were put together that no split may part.
        overlap: What the splits shared as they came, before anything was done about it.
        domain_column: The column that splits were stratified by; None where the data has none.
        unknown_labels: Label values that are no class, with their row counts, most frequent first.
        notes: What a person should be told.
        warnings: What a person must not miss.
        augmented: Attacked copies that were added to train, by attack; empty where that is off.
        leaks: The leak audit as `audit_leaks` gives it; None where it is off or there are too few rows.
    """

    splits: Mapping[str, pl.DataFrame]
    labels: LabelTable
    accounts: Mapping[str, SplitAccount]
    groups: GroupSummary
    overlap: tuple[Overlap, ...]
    domain_column: str | None
    unknown_labels: Mapping[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    augmented: Mapping[str, int] = field(default_factory=dict)
    leaks: Mapping[str, Any] | None = None

    @property
    def written(self) -> dict[str, int]:
        """Rows of each final split; they add up to what all accounts kept and what was added."""
        if isinstance(self.splits, SplitFiles):
            return dict(self.splits.heights)
        return {split: frame.height for split, frame in self.splits.items()}

    def count_rows(self) -> dict[str, Any]:
        """Give the row accounting as plain numbers, for the manifest and audit.json."""
        accounts = {split: account.to_json() for split, account in self.accounts.items()}
        overlap = {f"{each.split} with {each.other}": [each.exact, each.near] for each in self.overlap}
        groups = self.groups.to_json()
        added = {"augmented": dict(self.augmented)} if self.augmented else {}
        counts = {"splits": accounts, "written": self.written, **added}
        return {**counts, "groups": groups, "overlap_exact_near": overlap}


def write_prepared(folder: Path, prepared: PreparedData) -> None:
    """Write the files of the artifact into a folder that exists; the manifest is the caller's."""
    for split, frame in prepared.splits.items():
        write_parquet(find_split(folder, split), frame)
    write_json(folder / "labels.json", prepared.labels.to_json())
    audit = {
        **prepared.count_rows(),
        "unknown_labels": dict(prepared.unknown_labels),
        "domain_column": prepared.domain_column,
        "notes": list(prepared.notes),
        "warnings": list(prepared.warnings),
        "leaks": prepared.leaks,
    }
    write_json(folder / "audit.json", audit)
    write_json(folder / "overlap.json", {"pairs": [each.to_json() for each in prepared.overlap]})


def read_prepared(folder: Path) -> PreparedData:
    """Read the artifact back; a split's rows only when they are asked for.

    Raises:
        ArtifactError: A file is missing or damaged; of a split it is found when its rows are read.
    """
    audit = read_json(folder / "audit.json")
    return PreparedData(
        splits=SplitFiles(folder, audit["written"]),
        labels=read_labels(folder),
        accounts={split: SplitAccount.from_json(counts) for split, counts in audit["splits"].items()},
        groups=GroupSummary.from_json(audit["groups"]),
        overlap=tuple(Overlap.from_json(pair) for pair in read_json(folder / "overlap.json")["pairs"]),
        domain_column=audit["domain_column"],
        unknown_labels=audit["unknown_labels"],
        notes=tuple(audit["notes"]),
        warnings=tuple(audit["warnings"]),
        augmented=audit.get("augmented", {}),
        leaks=audit.get("leaks"),
    )


def read_labels(folder: Path) -> LabelTable:
    """Read labels.json alone."""
    return LabelTable.from_json(read_json(folder / "labels.json"))


def read_split(folder: Path, split: str) -> pl.DataFrame:
    """Read one split alone."""
    return read_parquet(find_split(folder, split))


def find_split(folder: Path, split: str) -> Path:
    """Give the file that holds a split."""
    return folder / f"{split}.parquet"


def to_dataset(frame: pl.DataFrame) -> Any:
    """Give a split as a datasets.Dataset, as a user of the class expects it."""
    import datasets

    # Not from_polars: it pickles all rows three times over for a fingerprint, which files in a cache need.
    return datasets.Dataset(frame.to_arrow(), fingerprint=uuid.uuid4().hex)

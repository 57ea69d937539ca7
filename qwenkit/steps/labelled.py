"""Which labelled rows a saved model is scored on: the split it never saw, another data set's, or any file."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.artifacts import Manifest, read_manifest
from qwenkit.config import Config
from qwenkit.console import Console, safe_text
from qwenkit.errors import ArtifactError
from qwenkit.ranks import find_ranks
from qwenkit.runs import Workspace
from qwenkit.saved import SavedModel
from qwenkit.stages import PREPARE

if TYPE_CHECKING:
    from qwenkit.modeling.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Rows to score.

    Attributes:
        title: For people: "the test split of 10k", "my.csv".
        name: For a folder's name; None where it is the model's own test split.
        origin: Tells two sets of one name apart; None where no other can have it.
        frame: polars, columns row_id, text, label, label_id and the source's others.
        tokenized: row_id and input_ids, where they are at hand; None has them made.
        train: The train split beside it, for baselines; None where there is none.
        baselines: Folder that keeps the baselines' scores for all runs on this data set.
        inputs, identity: Say which rows these are, for the fingerprint.
        slice_columns: To report by.
        held_out: Splits of dataset.holdout beside it, by name, each with rows of all classes.
        leaks: The leak audit of the data that they are from.
        is_demo: The rows are those of the demo.
    """

    title: str
    frame: Any
    name: str | None = None
    origin: str | None = None
    tokenized: Any = None
    train: Any = None
    baselines: Path | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    slice_columns: Sequence[str] = ()
    held_out: Mapping[str, Any] = field(default_factory=dict)
    leaks: Mapping[str, Any] | None = None
    is_demo: bool = False

    def encode(
        self,
        *,
        tokenizer: Any,
        max_length: int,
        truncation: bool,
        normalisation: Sequence[str],
        console: Console,
    ) -> Any:
        """Give row_id and input_ids of every row, its text normalised as the model wants it."""
        if self.tokenized is not None:
            return self.tokenized
        from qwenkit.tokens.encoding import encode_dataset

        # With all cores: each rank by itself would start as many processes.
        return find_ranks().hand_out(
            lambda: encode_dataset(
                self.frame,
                tokenizer=tokenizer,
                max_length=max_length,
                truncation=truncation,
                normalisation=normalisation,
                console=console,
            )
        )


def find_own_split(saved: SavedModel, workspace: Workspace, split: str) -> LabelledSet:
    """Find a split of the data that a model was trained from, and make sure that it is still the same.

    Raises:
        ArtifactError: The model names none, or it is gone, or was prepared anew since.
    """
    if saved.dataset is None or saved.manifest is None:
        raise ArtifactError(
            f"{saved.folder} does not say what it was trained on: name data with --data FILE or --dataset."
        )
    folder = workspace.prepared(saved.dataset)
    manifest = read_manifest(folder)
    expected = saved.manifest.inputs.get(PREPARE.name)
    if manifest is None:
        raise ArtifactError(
            f"{folder} is gone, the data that {saved.folder} was trained from: "
            f"run `qwenkit prepare --dataset {saved.dataset}`, or name data with --data FILE."
        )
    if manifest.fingerprint != expected:
        raise ArtifactError(
            f"{folder} was prepared anew since {saved.folder} was trained, so its {split} rows may have been "
            f"trained on: prepare it as it was{_tell_how(saved)}, train again, or evaluate with --data FILE."
        )
    name = None if split == "test" else split
    return _read_split(folder, manifest, split, title=f"the {split} split of {saved.dataset}", name=name)


def _tell_how(saved: SavedModel) -> str:
    config = saved.run / "config.yaml" if saved.run else None
    known = config is not None and config.is_file()
    return f" with `qwenkit prepare --config {shlex.quote(str(config))}`" if known else ""


def read_test_split(folder: Path, saved: SavedModel, split: str = "test") -> LabelledSet:
    """Read a split of any prepared data; its name stays empty for the test split of the model's own."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtifactError(f"{folder} holds no prepared data: run `qwenkit prepare` first.")
    dataset = folder.parent.name
    parts = [dataset] * (dataset != saved.dataset) + [split] * (split != "test")
    title = f"the {split} split of {dataset}"
    return _read_split(folder, manifest, split, title=title, name="-".join(parts) or None)


def sample_test_rows(test: Any, tokenized: Any, *, size: int, seed: int) -> LabelledSet:
    """Draw the test rows that are scored before training too.

    Args:
        test: The prepared split.
        tokenized: Its token ids, in the same order.
    """
    from qwenkit.evaluation.baselines import sample_rows

    sampled = sample_rows(len(tokenized), size=size, seed=seed)
    return LabelledSet(
        title=f"{len(sampled):,} test rows",
        frame=test,
        tokenized=tokenized.select(sampled),
        identity={"sampled_rows": len(sampled), "sampled_with_seed": seed},
    )


def name_classes(settings: Any, bundle: "Bundle") -> Any:
    """Take the settings that read labels from the model: its names, and its mapping unless another is set."""
    mapping = settings.label_mapping or bundle.label_mapping
    return settings.model_copy(update={"labels": list(bundle.labels), "label_mapping": mapping})


def read_labelled_file(
    path: str | Path,
    saved: SavedModel,
    *,
    bundle: "Bundle",
    config: Config,
    workspace: Workspace,
    console: Console,
) -> LabelledSet:
    """Read any labelled file as one set to score, and warn where the model was trained on some of it.

    Raises:
        DataError: It cannot be read, lacks a column, or has no row that can be scored. A text of which the
            model's normalisation leaves nothing is dropped as empty.
    """
    from qwenkit.data.prepare import prepare_labelled
    from qwenkit.data.sources import resolve_source

    source = resolve_source(str(path))
    settings = name_classes(config.model, bundle)
    rows = prepare_labelled(source, model=settings, normalize=bundle.normalisation)
    for note in rows.notes:
        console.info(note)
    _warn_of_training_rows(rows.frame, saved, workspace, console=console)
    return LabelledSet(
        title=source.name,
        name=source.folder_name,
        origin=source.origin,
        frame=rows.frame,
        identity={"rows": dict(source.identity)},
        slice_columns=[rows.domain_column] if rows.domain_column else [],
        is_demo=source.kind == "demo",
    )


def _warn_of_training_rows(rows: Any, saved: SavedModel, workspace: Workspace, *, console: Console) -> None:
    """Say how many rows of a user's file the model was trained on, where its train split is still there."""
    import polars as pl

    if saved.dataset is None or saved.manifest is None:
        return
    folder = workspace.prepared(saved.dataset)
    manifest = read_manifest(folder)
    if manifest is None or manifest.fingerprint != saved.manifest.inputs.get(PREPARE.name):
        return
    texts = rows["text"].unique()
    train = pl.scan_parquet(folder / "train.parquet", glob=False).select("text")
    seen = train.filter(pl.col("text").is_in(texts.implode())).unique().collect()
    n_seen = rows["text"].is_in(seen["text"].implode()).sum()
    if n_seen:
        console.warn(
            f"{n_seen:,} of {rows.height:,} rows are in the train split of {saved.title}: "
            "their score says little about new text."
        )


def _read_split(
    folder: Path, manifest: Manifest, split: str, *, title: str, name: str | None = None
) -> LabelledSet:
    """Read one split of prepared data, with the train split for baselines.

    A split of what is held out may lack a class: a generator's holds no human text. It is scored beside the
    rows of that class in test, which training has not seen either.
    """
    from qwenkit.data.holdout import PREFIX, complete_classes
    from qwenkit.data.prepared import read_prepared

    prepared = read_prepared(folder)
    if split not in prepared.splits:
        raise ArtifactError(
            f'{folder} has no split "{safe_text(split)}"; it has: {", ".join(prepared.splits)}. '
            "Further test splits come from dataset.holdout."
        )
    return LabelledSet(
        title=title,
        name=name,
        origin=title,
        frame=complete_classes(prepared.splits, split),
        train=prepared.splits["train"],
        baselines=folder.parent / "baselines",
        inputs={PREPARE.name: manifest.fingerprint},
        identity={"split": split},
        slice_columns=[prepared.domain_column] if prepared.domain_column else [],
        held_out={
            other: complete_classes(prepared.splits, other)
            for other in prepared.splits
            if split == "test" and other.startswith(PREFIX)
        },
        leaks=prepared.leaks,
        is_demo=manifest.counts.get("kind") == "demo",
    )

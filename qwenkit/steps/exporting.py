"""From a saved model to a published export, proven on validation rows."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qwenkit.artifacts import read_manifest
from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.export.conduct import export_model
from qwenkit.export.formats import find_format, identify_export
from qwenkit.export.parity import choose_rows
from qwenkit.modeling.bundle import read_bundle
from qwenkit.ranks import find_ranks
from qwenkit.runs import Workspace
from qwenkit.saved import SavedModel
from qwenkit.stages import EXPORT, TRAIN, StagePlan
from qwenkit.steps.bookkeeping import Bookkeeper
from qwenkit.steps.labelled import LabelledSet, find_own_split
from qwenkit.tokens.encoding import encode_texts
from qwenkit.tokens.tokenizer import load_tokenizer


def export_saved(
    saved: SavedModel,
    formats: Sequence[str],
    *,
    out: Path | None,
    config: Config,
    workspace: Workspace,
    books: Bookkeeper,
    console: Console,
) -> None:
    """Publish those exports of a saved model that are not up to date; the main rank makes them.

    Raises:
        ConfigError: There is no format of that name.
    """
    for name in [find_format(name).name for name in formats]:
        plan = books.plan(
            EXPORT,
            saved.export_folder(name, out=out),
            config=config,
            inputs={TRAIN.name: saved.fingerprint},
            identity=identify_export(name, config.export),
        )
        console.header("export", f"{saved.folder} -> {plan.folder}")
        if out is not None:
            books.refuse_other_results(plan)
        if books.must_make(plan):
            work = partial(
                _publish, plan, name, saved=saved, config=config, workspace=workspace, console=console
            )
            find_ranks().lead(work)


def _publish(
    plan: StagePlan,
    format_name: str,
    *,
    saved: SavedModel,
    config: Config,
    workspace: Workspace,
    console: Console,
) -> None:
    """Write one export as an artifact; one that differs from the trained model is not kept."""
    validation = find_own_split(saved, workspace, "validation")
    with plan.publish(replace=True) as staging:
        staging.counts |= export_model(
            format_name,
            folder=staging.folder,
            trained_folder=saved.folder,
            input_ids=_encode_sample(saved, validation, rows=config.export.parity_rows),
            settings=config.export,
            console=console,
            training=describe_training(saved, workspace),
        )
    console.success(f"wrote {plan.folder}")


def describe_training(saved: SavedModel, workspace: Workspace) -> Mapping[str, Any]:
    """Say for the model card what a model was trained on and how, without paths of this machine."""
    if saved.dataset is None or saved.manifest is None:
        return {}
    prepared = read_manifest(workspace.prepared(saved.dataset))
    counts = prepared.counts if prepared else {}
    is_on_hub = counts.get("kind") == "hub"
    return {
        "dataset": counts["origin"] if is_on_hub else saved.dataset,
        "dataset_revision": counts.get("revision"),
        "rows": counts.get("written", {}),
        "settings": saved.manifest.settings,
    }


def _encode_sample(saved: SavedModel, validation: LabelledSet, *, rows: int) -> list[list[int]]:
    bundle = read_bundle(saved.folder)
    chosen = validation.frame[choose_rows(validation.frame.height, rows)]
    return encode_texts(
        chosen["text"].to_list(),
        tokenizer=load_tokenizer(saved.folder),
        max_length=bundle.max_length,
        truncation=bundle.tokenizer.truncation,
    )

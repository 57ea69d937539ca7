"""Which run a training belongs to: what decides its weights beside the settings, and its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.ranks import find_ranks
from qwenkit.runs import Workspace, choose_run_folder, short_name
from qwenkit.stages import StagePlan
from qwenkit.steps.base import ChosenBase
from qwenkit.steps.own_data import check_class_weights, check_tokenized, identify_rows


def identify_run(
    *,
    base: ChosenBase,
    labels: Sequence[str],
    class_weights: Sequence[float] | None,
    dataset: str,
    own_rows: Mapping[str, Any],
    own_code: Mapping[str, str],
) -> dict[str, Any]:
    """Collect what decides a training run beside its settings and the stages before it.

    Args:
        dataset: Name of the data set's folder.
        own_rows: Tokenized rows that the user put in, by the attribute that holds them.
        own_code: What the user changed by code, each part named by its source.

    Raises:
        ConfigError, DataError: Weights or rows put in by hand cannot be trained with.
    """
    check_class_weights(class_weights, labels)
    check_tokenized(own_rows)
    return {
        "base": base.facts,
        "labels": list(labels),
        "class_weights": [float(weight) for weight in class_weights or ()],
        "dataset": dataset,
        **(identify_rows(own_rows) if own_rows else {}),
        **({"own_code": dict(own_code)} if own_code else {}),
    }


def find_run_folder(
    plan: StagePlan,
    *,
    config: Config,
    workspace: Workspace,
    is_forced: bool,
    known: Path | None,
    console: Console,
) -> Path:
    """Find the run's folder: the one that it began in, or a new one, named after its model and data.

    Args:
        plan: What would be trained.
        is_forced: Take the folder of that name whatever is in it.
        known: The folder chosen before, of which nothing need be said again.

    Raises:
        BusyError: training.run_name is set, and holds a run with other settings.
    """
    named, facts = config.training.run_name, plan.identity
    model_name = "own" if facts["base"]["kind"] == "own" else short_name(config.model.name)

    def choose() -> list[str]:
        chosen, reason = choose_run_folder(
            workspace,
            name=named or f"{model_name}-{facts['dataset'].lower()}",
            is_explicit=named is not None,
            plan=plan,
            force=is_forced,
        )
        return [str(chosen), reason]

    # A rank that looked by itself, a moment later, could find the folder that the main one has begun to fill.
    found, reason = find_ranks().decide(choose)
    folder = Path(found)
    if reason and folder != known:
        console.info(f"{reason}; this one goes to {folder}")
    return folder

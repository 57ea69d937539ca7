"""An evaluation at Weights & Biases: its figures, numbers and confusion matrix, and no long wait for them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.config import Config, flatten_config, load_config
from qwenkit.config.schema import Wandb
from qwenkit.console import Console, safe_text
from qwenkit.errors import ConfigError
from qwenkit.metrics import flatten_metrics
from qwenkit.runs import METRICS_NAME
from qwenkit.stages import StagePlan
from qwenkit.tracking import MetricsLog, Tracker, start_wandb

if TYPE_CHECKING:
    from qwenkit.evaluation.conduct import Outcome
    from qwenkit.evaluation.page import LabelledPicture

# The evaluation itself is on disk by then: a slow service is not worth a longer wait.
INIT_TIMEOUT_SECONDS = FINISH_TIMEOUT_SECONDS = 8


def choose_wandb_settings(run: Path | None, given: Wandb) -> Wandb:
    """Track an evaluation where its training was tracked, unless this config or command says otherwise.

    Args:
        run: The run that the model was trained in; None for a model from elsewhere.
    """
    path = None if run is None else run / "config.yaml"
    if path is None or not path.is_file():
        return given
    try:
        of_training = load_config(path).config.wandb
    except ConfigError:
        # Written by another version; an evaluation can do without.
        return given
    return Wandb.model_validate(of_training.model_dump() | given.model_dump(exclude_unset=True))


def track_evaluation(
    outcome: "Outcome",
    *,
    tracker: Tracker | None,
    mode: str | None,
    folder: Path,
    plan: StagePlan,
    config: Config,
    console: Console,
) -> None:
    """Show an evaluation on the W&B run of the training that just ended, else on one of its own.

    Args:
        tracker: Of that training, or None.
        mode: Of a W&B run of its own: online, offline; None opens none.
        folder: Of the run that was trained; the W&B files go to its wandb/.
    """
    if tracker is not None:
        show_evaluation(outcome, tracker)
    elif mode is not None:
        wandb_run = _open_wandb(folder, plan=plan, config=config, mode=mode, console=console)
        own = Tracker(MetricsLog(folder / METRICS_NAME), console=console, wandb_run=wandb_run)
        show_evaluation(outcome, own)
        own.finish()


def show_evaluation(outcome: "Outcome", tracker: Tracker) -> None:
    """Put the report's figures, the metrics and the confusion matrix on a W&B run."""
    metrics = outcome.evaluation.metrics
    tracker.summarize(flatten_metrics(metrics, prefix="test_"))
    if not tracker.is_watched:
        return
    tracker.show_images(
        {f"evaluation/{one.name}": (one.picture.draw_png(), _caption(one)) for one in outcome.pictures}
    )
    labels = [safe_text(label, limit=60) for label in outcome.evaluation.labels]
    rows = zip(labels, metrics["confusion_matrix"], strict=True)
    tracker.show_table(
        "evaluation/confusion_matrix",
        ["true class", *(f"called {label}" for label in labels)],
        [[label, *(f"{count:,}" for count in counts)] for label, counts in rows],
    )


def _caption(picture: "LabelledPicture") -> str:
    """Say in words what the report's legend shows in colours."""
    from qwenkit.evaluation.plots import SERIES_NAMES

    legend = "; ".join(
        f"{colour}: {name}" for colour, name in zip(SERIES_NAMES, picture.legend, strict=False)
    )
    return f"{legend}. {picture.caption}" if legend else picture.caption


def _open_wandb(folder: Path, *, plan: StagePlan, config: Config, mode: str, console: Console) -> Any:
    """Open a W&B run for one evaluation, in one group with the training that it belongs to."""
    settings = config.wandb
    group = settings.name or folder.name
    return start_wandb(
        folder=folder,
        project=settings.project,
        entity=settings.entity,
        name=f"{group}, {plan.folder.name}",
        tags=settings.tags,
        notes=settings.notes,
        mode=mode,
        config={**flatten_config(config), "fingerprint": plan.fingerprint, "inputs": dict(plan.inputs)},
        console=console,
        group=group,
        job_type=plan.stage.name,
        init_timeout_seconds=INIT_TIMEOUT_SECONDS,
        finish_timeout_seconds=FINISH_TIMEOUT_SECONDS,
    )

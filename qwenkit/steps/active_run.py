"""A run while it trains: its folder locked, its summary begun, its numbers kept and sent to W&B."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwenkit.artifacts import hold_lock
from qwenkit.config import Config, config_to_yaml, flatten_config
from qwenkit.console import Console
from qwenkit.files import replace_file
from qwenkit.ranks import find_ranks
from qwenkit.runs import METRICS_NAME, write_summary
from qwenkit.stages import StagePlan
from qwenkit.tracking import MetricsLog, Tracker, start_wandb

# How long W&B may hold up the end of a run.
FINISH_TIMEOUT_SECONDS = 15


@contextmanager
def open_run(
    folder: Path, *, plan: StagePlan, config: Config, wandb_mode: str | None, console: Console
) -> Iterator[Tracker]:
    """Hold a run's folder and give the tracker that its training logs to; the main rank holds it for all.

    Args:
        wandb_mode: online, offline, ..., or None for no W&B.

    Raises:
        BusyError: Another process trains in this folder.
    """
    from qwenkit.modeling.device import describe_machine

    log = MetricsLog(folder / METRICS_NAME)
    if not find_ranks().is_main:
        yield Tracker(log, console=console)
        return
    with hold_lock(folder):
        # What the logged speed was reached on.
        device = describe_machine().name
        write_summary(folder, plan=plan, state="started", device=device, ranks=find_ranks().world_size)
        replace_file(folder / "config.yaml", config_to_yaml(config, comments=False))
        wandb_run = None
        if wandb_mode is not None:
            wandb_run = _open_wandb(folder, plan=plan, config=config, mode=wandb_mode, console=console)
        tracker = Tracker(log, console=console, wandb_run=wandb_run)
        try:
            yield tracker
        finally:
            tracker.finish()


def read_training_log(run: Path | None) -> list[dict[str, Any]]:
    """Read a run's metrics.jsonl; empty where there is none."""
    return [] if run is None else MetricsLog(run / METRICS_NAME).read()


def _open_wandb(folder: Path, *, plan: StagePlan, config: Config, mode: str, console: Console) -> Any:
    settings = config.wandb
    name = settings.name or folder.name
    facts: Mapping[str, Any] = {
        **flatten_config(config),
        "fingerprint": plan.fingerprint,
        "inputs": dict(plan.inputs),
    }
    return start_wandb(
        folder=folder,
        project=settings.project,
        entity=settings.entity,
        name=name,
        tags=[*settings.tags, f"dataset-{plan.identity['dataset']}"],
        notes=settings.notes,
        mode=mode,
        config=facts,
        console=console,
        # What is resumed, uploaded or evaluated later has W&B runs of its own, in the same group.
        group=name,
        job_type=plan.stage.name,
        finish_timeout_seconds=FINISH_TIMEOUT_SECONDS,
    )

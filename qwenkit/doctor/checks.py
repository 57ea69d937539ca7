"""The open list of checks. A new one is one function and one line of the list."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qwenkit.doctor import accounts, machine, model, rows
from qwenkit.doctor.finding import Finding, fail, fail_with, ok, warn
from qwenkit.doctor.subject import Subject
from qwenkit.errors import QwenkitError, ResourceError

GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One question. `look` gives None where it does not apply."""

    name: str
    group: str
    look: Callable[[Subject], Finding | None]


def _on_machine(judge: Callable[[machine.Machine], Finding]) -> Callable[[Subject], Finding | None]:
    return lambda subject: judge(subject.machine)


def _on_model(judge: Callable[[model.Model], Finding]) -> Callable[[Subject], Finding | None]:
    return lambda subject: judge(subject.model) if subject.model else None


def _on_rows(judge: Callable[[rows.Rows], Finding]) -> Callable[[Subject], Finding | None]:
    return lambda subject: judge(subject.rows) if subject.rows else None


def check_hub(subject: Subject) -> Finding:
    """Ask for the base of the config where that is on the hub, else for the default one."""
    from qwenkit.hub import looks_like_repo_id

    name = subject.config.model.name if subject.config else None
    is_on_hub = name is not None and "/" in name and not Path(name).exists() and looks_like_repo_id(name)
    return accounts.check_hub(name if is_on_hub else None)


def check_wandb_login(subject: Subject) -> Finding:
    """Look for a key, unless the config has no use for one."""
    return accounts.check_wandb_login(is_wanted=subject.config is None or subject.config.wandb.enabled)


def check_model(subject: Subject) -> Finding | None:
    """See that the model can be read, or be started as training would."""
    if not subject.is_examined:
        return None
    if subject.model is None and "model" in subject.problems:
        return fail_with(subject.problems["model"])
    return ok(f"{subject.saved.folder} is whole" if subject.saved else "base and adapter load")


def check_data(subject: Subject) -> Finding | None:
    """See that the data is there."""
    if not subject.is_examined:
        return None
    if subject.rows is not None:
        return ok(f"{subject.rows.total:,} prepared rows")
    if "data" in subject.problems:
        return fail_with(subject.problems["data"])
    name = subject.config.dataset.name if subject.config else None
    return warn("nothing is prepared to look at", f"qwenkit prepare --dataset {name or '10k'}")


def check_labels(subject: Subject) -> Finding | None:
    """Compare the label maps of model and data."""
    if subject.model is None:
        return None
    return model.check_labels(subject.model, subject.rows.labels if subject.rows else None)


def check_training_memory(subject: Subject) -> Finding | None:
    """Compare the peak of a training step with the device's memory."""
    if subject.config is None:
        return None
    from qwenkit.forecast.run import forecast_run

    try:
        told = forecast_run(subject.config)
    except QwenkitError as error:
        return fail_with(error)
    peak, available = sum(told.memory.values()), told.device_bytes or 0
    found = f"a step peaks at {peak / GIB:.1f} GiB, {told.device} has {available / GIB:.1f} GiB"
    if peak > available:
        cure = (
            "lower training.micro_batch_tokens or --batch-size, or set training.gradient_checkpointing=true"
        )
        return fail(found, cure, ResourceError)
    return ok(found)


MACHINE, MODEL, DATA = "machine", "model", "data"
CHECKS = (
    Check("python", MACHINE, _on_machine(machine.check_python)),
    Check("packages", MACHINE, _on_machine(machine.check_packages)),
    Check("driver", MACHINE, _on_machine(machine.check_driver)),
    Check("cuda", MACHINE, _on_machine(machine.check_cuda)),
    Check("gpu", MACHINE, _on_machine(machine.check_gpu)),
    Check("bf16", MACHINE, _on_machine(machine.check_bf16)),
    Check("memory", MACHINE, _on_machine(machine.check_memory)),
    Check("disk", MACHINE, _on_machine(machine.check_disk)),
    Check("root", MACHINE, _on_machine(machine.check_root)),
    Check("hub", MACHINE, check_hub),
    Check("hub login", MACHINE, lambda subject: accounts.check_hub_login()),
    Check("wandb login", MACHINE, check_wandb_login),
    Check("model", MODEL, check_model),
    Check("pad id", MODEL, _on_model(model.check_pad_id)),
    Check("weights", MODEL, _on_model(model.check_weights)),
    Check("head", MODEL, _on_model(model.check_head)),
    Check("head storage", MODEL, _on_model(model.check_head_storage)),
    Check("labels", MODEL, check_labels),
    Check("training memory", MODEL, check_training_memory),
    Check("data", DATA, check_data),
    Check("truncation", DATA, _on_rows(rows.check_truncation)),
    Check("duplicates", DATA, _on_rows(rows.check_duplicates)),
)


def examine(subject: Subject) -> Iterator[tuple[Check, Finding]]:
    """Ask every question that applies, in order; each answer comes as soon as it is known."""
    for check in CHECKS:
        finding = check.look(subject)
        if finding is not None:
            yield check, finding

"""How fast training went before, in a run like the one to come."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from qwenkit.config import Config, flatten_config, load_config
from qwenkit.errors import ConfigError
from qwenkit.files import read_json
from qwenkit.runs import SUMMARY_NAME, Workspace
from qwenkit.tracking import MetricsLog

# What the speed depends on; the length of the run does not count.
DECISIVE = (
    "tokenization.max_length",
    "peft.enabled",
    "peft.lora_r",
    "peft.lora_dropout",
    "peft.target_modules",
    "peft.modules_to_save",
    "peft.use_dora",
    "training.bf16",
    "training.gradient_checkpointing",
    "training.per_device_train_batch_size",
    "training.micro_batch_tokens",
    "training.compile",
    "training.liger",
    "training.tf32",
)


@dataclass(frozen=True)
class Rate:
    """Tokens of training a second, and who says so."""

    tokens_per_second: float
    source: str


def find_measured_rate(
    workspace: Workspace, config: Config, *, is_like: Callable[[str], bool]
) -> Rate | None:
    """Take the median rate that the newest like run logged: same model, quantization and cut of a step.

    Args:
        is_like: Tells of the device that a run was trained on whether its speed holds.
    """
    for run in reversed(list(workspace.runs())):
        speeds = [
            float(record["tokens_per_second"])
            for record in MetricsLog(run / "metrics.jsonl").read()
            if record.get("tokens_per_second")
        ]
        summary = read_json(run / SUMMARY_NAME)
        device, ranks = summary.get("device", ""), summary.get("ranks", 1)
        if speeds and is_like(device) and _is_alike(run, config):
            where = device if ranks == 1 else f"{device}, {ranks} ranks"
            return Rate(median(speeds), f"as measured in {run} ({where})")
    return None


def _is_alike(run: Path, config: Config) -> bool:
    try:
        other = load_config(run / "config.yaml").config
    except ConfigError:
        # A run of another version measured nothing that can be compared.
        return False
    if other.model != config.model or other.quantization != config.quantization:
        return False
    then, now = flatten_config(other), flatten_config(config)
    return all(then[name] == now[name] for name in DECISIVE)

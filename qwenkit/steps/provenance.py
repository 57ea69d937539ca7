"""Where an evaluation came from: fingerprints, settings, versions, and the commands that lead there again."""

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qwenkit.config import Config, flatten_config
from qwenkit.saved import SavedModel
from qwenkit.stages import PREPARE, TRAIN, StagePlan
from qwenkit.steps.labelled import LabelledSet
from qwenkit.versions import package_versions

if TYPE_CHECKING:
    from qwenkit.modeling.bundle import Bundle


def describe_provenance(
    plan: StagePlan, *, bundle: "Bundle", rows: LabelledSet, commands: Mapping[str, str]
) -> Mapping[str, Mapping[str, Any]]:
    """Say where an evaluation came from, by group, for the report."""
    base = bundle.base_model
    return {
        "Model": {
            "fingerprint": plan.inputs.get(TRAIN.name, "unknown"),
            "base model": base.name,
            "base revision": base.revision or base.sha256 or "unknown",
            "held as": bundle.quantization.method,
            "max_length": bundle.max_length,
        },
        "Data": {
            "rows": rows.title,
            "prepared": plan.inputs.get(PREPARE.name, "not a prepared set"),
            **{name: value for name, value in rows.identity.items() if isinstance(value, str)},
        },
        "Evaluation": {"fingerprint": plan.fingerprint, **plan.settings},
        "Commands": commands,
        "Versions": package_versions(),
    }


def write_commands(
    plan: StagePlan, saved: SavedModel, *, root: str, split: str, options: Mapping[str, object]
) -> dict[str, str]:
    """Write the commands that train this model and make this evaluation again, as they are typed.

    Args:
        options: `--dataset`, `--data` and the like; None is one that was not given.
    """
    model = saved.run if saved.run is not None and saved.is_trained else saved.folder
    words = ["qwenkit", "evaluate", str(model), "--root", root]
    words += ["--split", split] if split != "test" else []
    words += [word for name, value in options.items() if value is not None for word in (name, str(value))]
    defaults = flatten_config(Config())
    for name, value in plan.settings.items():
        if value != defaults[name]:
            words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    commands = {"evaluate again": shlex.join(words)}
    if saved.run is not None:
        config = str(saved.run / "config.yaml")
        commands["train again"] = shlex.join(["qwenkit", "run", "--config", config, "--root", root])
    return commands

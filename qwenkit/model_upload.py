"""A model folder as an artifact at Weights & Biases, uploaded by a process of its own, which can be ended.

In ours nothing would end it: wandb asks the service before it takes an artifact, and its finish_timeout does
not count while one is under way.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

MOST_NAME_CHARACTERS = 128


def name_artifact(name: str) -> str:
    """Turn a run's name into one that W&B allows: letters of ASCII, digits, dashes, underscores, dots."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:MOST_NAME_CHARACTERS]


def upload_model(folder: Path, *, name: str, project: str, group: str, timeout_seconds: float) -> str | None:
    """Upload a folder, waiting no longer than the limit.

    Args:
        name: Of the artifact, from name_artifact.
        project: As entity/project.
        group: Shows the upload's own W&B run beside the training's.

    Returns:
        None, or why it was not uploaded, and the command that does it.
    """
    words = ["artifact", "put", "--type", "model", "--name", f"{project}/{name}", str(folder.absolute())]
    # The files stay as they are, so W&B need not copy them first.
    sparing = ["--policy", "immutable", "--skip_cache"]
    with TemporaryDirectory(prefix="qwenkit-upload-") as scratch:
        places = {"WANDB_DIR": scratch, "WANDB_RUN_GROUP": group, "WANDB_MODE": "online"}
        reason = _run_wandb([*words, *sparing], places, cwd=Path(scratch), timeout_seconds=timeout_seconds)
    if reason is None:
        return None
    return f"the model was not uploaded ({reason}); this does it: {shlex.join(['wandb', *words])}"


def _run_wandb(
    words: list[str], places: Mapping[str, str], *, cwd: Path, timeout_seconds: float
) -> str | None:
    """Run W&B's own command; returns why it failed, or None. Its helper process ends with it."""
    said = cwd / "said.txt"
    with said.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "wandb", *words],
                cwd=cwd,
                env={**os.environ, **places},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired:
            return f"not done after {timeout_seconds:g} s"
    if done.returncode == 0:
        return None
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"

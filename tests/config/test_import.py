"""Importing the config costs next to nothing, so that the command line answers at once."""

import subprocess
import sys

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "peft",
    "wandb",
    "matplotlib",
    "sklearn",
    "polars",
    "numpy",
    "rich",
)


def test_the_config_imports_nothing_heavy() -> None:
    code = f"import sys, qwenkit.config; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

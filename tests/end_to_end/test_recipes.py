"""Each block of the recipes is run as it stands, one after the other in one folder, as a reader would."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_SETTINGS, write_toy_csv

RECIPES = Path(__file__).parents[2] / "qwenkit/docs/recipes.md"


def read_blocks() -> list[tuple[str, str]]:
    """Give (heading, code) of each Python block."""
    blocks, heading = [], ""
    for match in re.finditer(r"^## ([^\n]+)$|^```python\n(.*?)^```$", RECIPES.read_text(), re.M | re.S):
        heading = match[1] or heading
        if match[2]:
            blocks.append((heading, match[2]))
    return blocks


def write_config(path: Path) -> None:
    """Write the tiny settings that all tests use, two steps long, as a user's config.yaml."""
    from qwenkit.config import config_to_yaml, load_config

    settings = (*TINY_SETTINGS, "training.max_steps=2", "training.eval_steps=1", "training.save_steps=1")
    path.write_text(config_to_yaml(load_config("default", overrides=settings).config))


@pytest.mark.slow
def test_every_recipe_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_toy_csv(Path("mine.csv"), rows=200)
    write_config(Path("config.yaml"))
    names: dict[str, Any] = {"__name__": "recipes"}
    blocks = read_blocks()
    assert len(blocks) >= 14
    for heading, code in blocks:
        try:
            exec(compile(code, f"{RECIPES.name}: {heading}", "exec"), names)
        except Exception as error:
            raise AssertionError(f'the recipe "{heading}" fails') from error
    assert names["small"].run_folder != names["large"].run_folder
    assert len(names["predictions"].labels) == 2

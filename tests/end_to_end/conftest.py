"""A hub on this machine, for processes that are pointed at it, and pipelines for what is done in Python."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwenkit import QwenTrainingPipeline
from qwenkit.console import Console
from tests.conftest import TINY_SETTINGS
from tests.end_to_end.hub_repos import write_hub
from tests.hub.hub_server import LocalHub, serve_hub


@pytest.fixture(scope="session")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub; copy it before changing it.

    Its repos are named like the real ones: a tiny Qwen/Qwen3-0.6B and the RAID-derived sets.
    """
    return write_hub(tmp_path_factory.mktemp("repos"))


@pytest.fixture(scope="session")
def hub(repos: Path) -> Iterator[LocalHub]:
    """A hub that works and does not change."""
    with serve_hub(repos) as running:
        yield running


@pytest.fixture
def make(toy_csv: Path, tmp_path: Path) -> Iterator[Any]:
    """Make quiet pipelines over the toy data, two steps long, all in one root; they are cleaned up."""
    made: list[QwenTrainingPipeline] = []

    def make_pipeline(
        dataset: str | None = str(toy_csv),
        *,
        kind: Any = QwenTrainingPipeline,
        **more: Any,
    ) -> QwenTrainingPipeline:
        settings = {"root": tmp_path / "output", "overrides": TINY_SETTINGS, "max_steps": 2, **more}
        made.append(kind(dataset, console=Console(quiet=True), **settings))
        made[-1].load_config()
        return made[-1]

    yield make_pipeline
    for pipeline in made:
        pipeline.cleanup()

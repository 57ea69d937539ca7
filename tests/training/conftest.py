"""Fixtures of the training tests; what they are made of lies in tiny_training.py."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_training import build_tiny_trainer, save_base


@pytest.fixture(scope="session", autouse=True)
def cheap_garbage_collection() -> Iterator[None]:
    """The Trainer collects garbage at each start; walking all that was imported takes most of a test."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_base(folder)
    return folder


@pytest.fixture
def make_trainer(base_folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """Build a trainer in a run folder of this test."""

    def make(*, run: str = "run", **options: Any) -> Any:
        return build_tiny_trainer(base_folder, tmp_path / run, **options)

    return make

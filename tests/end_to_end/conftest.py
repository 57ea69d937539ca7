"""A hub on this machine with repos named like the real ones, for processes that are pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.hub_repos import write_hub
from tests.hub.hub_server import LocalHub, serve_hub


@pytest.fixture(scope="session")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub: a tiny Qwen/Qwen3-0.6B and the RAID-derived sets; copy it before changing it."""
    return write_hub(tmp_path_factory.mktemp("repos"))


@pytest.fixture(scope="session")
def hub(repos: Path) -> Iterator[LocalHub]:
    """A hub that works and does not change."""
    with serve_hub(repos) as running:
        yield running

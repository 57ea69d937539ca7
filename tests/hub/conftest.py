"""A local hub with a model, tokenizer and data set named like the real ones, and a process to use it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hub.hub_server import LocalHub, serve_hub
from tests.hub.tiny_model import write_model

MODEL = "Qwen/Qwen3-0.6B"
DATASET = "codefactory4791/raid_aligned_10k"
REPOSITORY = Path(__file__).parents[2]
TEXTS = ["the river ran through the old town"] * 3
CLIENT = Path(__file__).with_name("hub_client.py")

Outcome = dict[str, Any]
Client = Callable[..., list[Outcome]]


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out models/ and datasets/ with tiny random content."""
    folder = tmp_path_factory.mktemp("hub")
    write_model(folder / "models" / MODEL, TEXTS)
    write_dataset(folder / "datasets" / DATASET, word="river")
    no_tokenizer = folder / "models" / "nobody" / "no-tokenizer"
    no_tokenizer.mkdir(parents=True)
    shutil.copy(folder / "models" / MODEL / "config.json", no_tokenizer)
    no_data = folder / "datasets" / "nobody" / "no-data"
    no_data.mkdir(parents=True)
    (no_data / "README.md").write_text("# nothing here\n")
    for fault in ("short", "garbage", "truncated", "fails", "gated", "lost"):
        shutil.copytree(folder / "models" / MODEL, folder / "models" / "faults" / fault)
        shutil.copytree(folder / "datasets" / DATASET, folder / "datasets" / "faults" / fault)
    return folder


@pytest.fixture
def hub(hub_folder: Path) -> Iterator[LocalHub]:
    with serve_hub(hub_folder) as running:
        yield running


@pytest.fixture
def client(hub: LocalHub, tmp_path: Path) -> Client:
    """Give a function that runs checks in a new process; its calls share a cache, which is empty at first."""
    return make_client(hub, tmp_path / "hf")


def make_client(hub: LocalHub, cache: Path) -> Client:
    def run_checks(*checks: dict[str, Any], **environment: str) -> list[Outcome]:
        settings = {
            "PATH": os.environ["PATH"],
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(REPOSITORY),
        }
        finished = subprocess.run(
            [sys.executable, str(CLIENT)],
            input=json.dumps({"checks": checks}),
            env={**settings, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout.splitlines()[-1])

    return run_checks


def write_dataset(folder: Path, *, word: str) -> None:
    """Write three Parquet splits with the columns of the RAID-derived sets."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A small copy\n")
    for split, n_rows in (("train", 40), ("validation", 8), ("test", 6)):
        labels = ["AI_Generated" if index % 2 else "Human_Written" for index in range(n_rows)]
        columns = {
            "domain_name": ["news"] * n_rows,
            "model": ["gpt4" if label == "AI_Generated" else "human" for label in labels],
            "text": [f"{split} {word} {index}" for index in range(n_rows)],
            "label": labels,
        }
        pq.write_table(pa.table(columns), folder / "data" / f"{split}-00000-of-00001.parquet")

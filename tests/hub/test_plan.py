"""`qwenkit plan` for a base on the hub: its config.json alone is asked for, and the cache serves offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.hub.conftest import MODEL, REPOSITORY
from tests.hub.hub_server import LocalHub


def call_plan(hub: LocalHub, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    return subprocess.run(
        [sys.executable, "-m", "qwenkit", "plan", "--dataset", "10k", "--json", "--config", "default"],
        env={**settings, **environment},
        cwd=cache.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_plan_asks_the_hub_for_the_config_alone_and_the_cache_afterwards(
    hub: LocalHub, hub_folder: Path, tmp_path: Path
) -> None:
    online = call_plan(hub, tmp_path / "hf")
    assert online.returncode == 0, online.stderr
    # Not the real Qwen3-0.6B's 1,024, but the width of 32 that the hub's config.json says.
    told = json.loads(online.stdout)
    config = json.loads((hub_folder / "models" / MODEL / "config.json").read_text())
    assert told["parameters"]["embedding"] == config["vocab_size"] * 32
    assert (told["model"], told["steps"]["per_epoch"]) == (MODEL, 32)
    assert not any("safetensors" in request for request in hub.requests)

    hub.requests.clear()
    offline = call_plan(hub, tmp_path / "hf", HF_HUB_OFFLINE="1")
    assert json.loads(offline.stdout) == told
    assert hub.requests == []

    nothing = call_plan(hub, tmp_path / "empty", HF_HUB_OFFLINE="1")
    assert nothing.returncode == 3
    assert f"model {MODEL} is not in the cache" in nothing.stderr
    assert "Traceback" not in nothing.stderr

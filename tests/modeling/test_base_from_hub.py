"""A base model over the hub's protocol, from a server on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.hub.hub_server import serve_hub
from tests.qwen3_sizes import TINY_SIZES

REPOSITORY = Path(__file__).parents[2]


def test_a_base_is_pinned_to_a_commit_and_loaded_quantized(tmp_path):
    torch.manual_seed(0)
    whole, corrupt = (tmp_path / "hub" / "models" / name for name in ("Qwen/Qwen3-0.6B", "nobody/corrupt"))
    for folder in (whole, corrupt):
        Qwen3ForCausalLM(Qwen3Config(**TINY_SIZES, vocab_size=320, tie_word_embeddings=True)).save_pretrained(
            folder
        )
    (corrupt / "model.safetensors").write_bytes((corrupt / "model.safetensors").read_bytes()[:3000])
    with serve_hub(tmp_path / "hub") as hub:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(REPOSITORY),
        }
        commit = hub.find_commit("models/Qwen/Qwen3-0.6B")
        script = Path(__file__).with_name("load_from_hub.py")
        command = [sys.executable, str(script), "Qwen/Qwen3-0.6B", "nobody/corrupt", "nobody/nothing"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    loaded, damaged, missing = json.loads(done.stdout)
    assert loaded["identity"] == {
        "name": "Qwen/Qwen3-0.6B",
        "kind": "hub",
        "revision": commit,
        "sha256": None,
        "tiny": None,
    }
    assert loaded["class"] == "Qwen3ForSequenceClassification"
    assert loaded["labels"] == {"0": "A", "1": "B"}
    assert damaged["error"] == "HubError" and "nobody/corrupt" in damaged["message"]
    assert missing["error"] == "HubError" and "nobody/nothing" in missing["message"]
    # Everything was asked for by commit: nothing can change between two requests.
    assert not any("/main/" in request for request in hub.requests)
    assert done.stderr == ""

"""qwenkit init: three files to start from, never over the user's own, that work where they land."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

import qwenkit
from qwenkit.config import config_to_yaml, load_config
from tests.commands import call, call_for_json
from tests.conftest import TINY_SETTINGS, write_toy_csv
from tests.hub.conftest import DATASET, MODEL, TEXTS
from tests.hub.hub_server import serve_hub
from tests.hub.tiny_model import write_model

FILES = ["config.yaml", "interactive.ipynb", "standalone.py"]
PACKAGE = Path(qwenkit.__file__).parent


def test_init_writes_the_config_the_script_and_the_notebook(tmp_path: Path) -> None:
    folder = tmp_path / "my detector"
    printed = call("init", folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert f"next: cd '{folder}' && qwenkit run --dataset 10k" in printed
    for name in FILES:
        assert name in printed
    default = load_config("default").config
    assert (folder / "config.yaml").read_text() == config_to_yaml(default, comments=True)
    for name in ("standalone.py", "interactive.ipynb"):
        assert (folder / name).read_bytes() == (PACKAGE / "examples" / name).read_bytes()


def test_init_leaves_a_users_file_alone_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    printed = call("init", tmp_path, code=4)
    assert "already holds config.yaml" in printed and "--force" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "mine"
    call("init", tmp_path, "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert (tmp_path / "config.yaml").read_text() != "mine"


def test_init_tells_a_program_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (told,) = call_for_json("init")
    assert sorted(told["written"]) == FILES
    assert told["next"] == "qwenkit run --dataset 10k"


def test_init_refuses_what_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "name a folder" in call("init", folder, code=2)


def test_commands_in_the_new_folder_read_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_csv: Path
) -> None:
    call("init", tmp_path)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("  root: output\n", "  root: elsewhere\n"))
    overrides = [part for setting in TINY_SETTINGS for part in ("--set", setting)]
    call("run", "--dataset", toy_csv, "--max-steps", 2, *overrides)
    assert (tmp_path / "elsewhere/tiny-toy/exported/merged/manifest.json").is_file()
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
def test_script_and_command_agree_in_a_new_folder_on_the_default_recipe(tmp_path: Path) -> None:
    """As a user would: init, then both, with the data and the model from a hub."""
    write_model(tmp_path / "hub/models" / MODEL, TEXTS)
    rows = pl.read_csv(write_toy_csv(tmp_path / "toy.csv", rows=660))
    data = tmp_path / "hub/datasets" / DATASET / "data"
    data.mkdir(parents=True)
    for split, start, n_rows in (("train", 0, 520), ("validation", 520, 80), ("test", 600, 60)):
        rows.slice(start, n_rows).write_parquet(data / f"{split}-00000-of-00001.parquet")
    folder = tmp_path / "mine"
    call("init", folder)
    outputs = []
    with serve_hub(tmp_path / "hub") as hub:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(PACKAGE.parent),
        }
        for command in (
            ["standalone.py", "--dataset", "10k"],
            ["-m", "qwenkit", "run", "--dataset", "10k", "--no-wandb"],
        ):
            done = subprocess.run(
                [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
    assert "wrote output/standalone-10k" in outputs[0]
    run = folder / "output/qwen3-0.6b-10k"
    assert yaml.safe_load((run / "config.yaml").read_text())["peft"]["lora_dropout"] == 0.05
    script = pl.read_csv(folder / "output/standalone-10k/predictions.csv")
    pipeline = pl.read_parquet(run / "evaluated/after/predictions.parquet")
    columns = [f"logit_{label}" for label in ("AI_Generated", "Human_Written")]
    # Written as text with nine digits. Everything else is equal, dropout included.
    differences = script.select(columns).to_numpy() - pipeline.select(columns).to_numpy()
    assert abs(differences).max() < 1e-5
    assert len(script) == 60

"""Commands on two gloo ranks: the numbers of one, one that prints, and an end for all when one fails."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from qwenkit.artifacts import read_manifest, verify
from tests.conftest import TINY_SETTINGS, write_toy_csv
from tests.end_to_end.command_worker import run_command
from tests.end_to_end.processes import REPOSITORY, TIMEOUT_SECONDS, make_environment, run_alone

LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.accelerate_cli", "launch", "--config_file")
WORKER = Path(__file__).with_name("rank_worker.py")
LAUNCHERS = REPOSITORY / "configs" / "launch"
EVEN_SETTINGS = (
    *TINY_SETTINGS,
    # With it, two ranks draw other noise than one.
    "peft.lora_dropout=0",
    # 4-bit layers compute in bfloat16, where the order of a sum shows.
    "quantization.enabled=false",
    "training.learning_rate=0.001",
    "training.num_train_epochs=1",
    "training.eval_samples=21",
    "evaluation.run_pre_training_eval=false",
)
EVALUATION = ("evaluation.bootstrap_draws=200", "evaluation.robustness=true", "evaluation.robustness_rows=6")
SETTINGS = [part for setting in EVEN_SETTINGS for part in ("--set", setting)]
FEWER = ("--set", "dataset.max_train_samples=60", "--max-steps", "2", "--run-name", "fewer")
# 245 rows to train on, in steps of 16: the last step of the epoch has 5.
ROWS = 306
TEXTS = ["moreover delve", "mud bus kitchen", "the rain"]


def launch(
    folder: Path, *words: object, launcher: tuple[str, ...] = LAUNCH, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *launcher, *map(str, words)],
        cwd=folder,
        env=make_environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


def evaluate(root: Path, data: Path) -> list[str]:
    """Score a file, attacked and cut short too."""
    settings = [part for setting in EVALUATION for part in ("--set", setting)]
    return ["evaluate", str(root / "tiny-toy"), "--data", str(data.with_name("other.csv")), *settings]


def flatten(content: Any, name: str = "") -> dict[str, Any]:
    """Name every number of nested JSON by where it stands."""
    if isinstance(content, dict | list):
        inner = content.items() if isinstance(content, dict) else enumerate(content)
        return {key: number for at, value in inner for key, number in flatten(value, f"{name}/{at}").items()}
    return {name: content} if isinstance(content, int | float) else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_toy_csv(folder / "other.csv", rows=75, seed=1)
    return write_toy_csv(folder / "toy.csv", rows=ROWS)


@pytest.fixture(scope="module")
def on_one(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A run on one rank, evaluated: its root."""
    root = tmp_path_factory.mktemp("one") / "output"
    for words in (["train", "--dataset", str(data), *SETTINGS], evaluate(root, data)):
        outcome = run_command([*words, "--root", str(root)])
        assert outcome["code"] == 0, outcome
    return root


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, list[list[dict[str, Any]]]]:
    """The same on two ranks, and a prediction: the root, and for each rank what its commands printed."""
    folder = tmp_path_factory.mktemp("two")
    root = ["--root", str(folder / "output")]
    texts = folder / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf-8")
    commands = [
        ["train", "--dataset", str(data), *SETTINGS, *root],
        [*evaluate(folder / "output", data), *root],
        ["predict", str(folder / "output" / "tiny-toy"), "--input", str(texts), "--json"],
        ["train", "--dataset", str(data), *SETTINGS, *root],
        ["train", "--dataset", str(data), *SETTINGS, *FEWER, *root],
        ["train", "--dataset", str(folder / "nothing.csv"), *root],
    ]
    (folder / "commands.json").write_text(json.dumps(commands), encoding="utf-8")
    done = launch(folder, WORKER, folder / "commands.json", folder / "results.json")
    assert done.returncode == 0, done.stdout + done.stderr
    printed = [json.loads((folder / f"results-{rank}.json").read_text()) for rank in (0, 1)]
    return folder / "output", printed


def test_two_ranks_log_the_losses_and_metrics_of_one(on_one: Path, on_two: tuple[Path, Any]) -> None:
    one, two = (read_lines(root / "tiny-toy" / "metrics.jsonl") for root in (on_one, on_two[0]))
    assert len(one) == len(two) > 16
    for expected, found in zip(one, two, strict=True):
        assert expected.keys() == found.keys()
        for name in expected:
            if not any(measured in name for measured in ("per_second", "runtime", "peak_memory")):
                assert found[name] == pytest.approx(expected[name], rel=1e-5), (name, expected)


def test_two_ranks_score_and_measure_as_one(on_one: Path, on_two: tuple[Path, Any]) -> None:
    one, two = (root / "tiny-toy" / "evaluated" / "other" for root in (on_one, on_two[0]))
    expected, found = (pl.read_parquet(folder / "predictions.parquet") for folder in (one, two))
    assert expected.columns == found.columns
    for name, kind in expected.schema.items():
        if kind.is_float():
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert found[name].equals(expected[name]), name
    assert expected.height == 75
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, two)]
    assert flatten(metrics[1]) == pytest.approx(flatten(metrics[0]), rel=1e-4, abs=1e-6)
    points = [
        json.loads((root / "tiny-toy/trained/qwenkit.json").read_text()) for root in (on_one, on_two[0])
    ]
    for name, point in points[0]["operating_points"].items():
        assert points[1]["operating_points"][name]["threshold"] == pytest.approx(point["threshold"], abs=1e-6)


def test_the_number_of_ranks_is_part_of_no_fingerprint(on_one: Path, on_two: tuple[Path, Any]) -> None:
    for folder in ("trained", "checkpoint-16", "evaluated/other"):
        manifests = [read_manifest(root / "tiny-toy" / folder) for root in (on_one, on_two[0])]
        assert manifests[0].fingerprint == manifests[1].fingerprint, folder
        verify(on_two[0] / "tiny-toy" / folder, deep=True)


def test_one_rank_prints_and_all_come_to_the_same_end(on_two: tuple[Path, Any]) -> None:
    main, other = on_two[1]
    assert (
        [outcome["code"] for outcome in main] == [0, 0, 0, 0, 0, 2] == [outcome["code"] for outcome in other]
    )
    assert [outcome["out"] for outcome in other] == [""] * 6
    assert all(outcome["err"] == "" for outcome in (*main[:5], *other[:5]))
    assert "16 documents, about" in main[0]["out"] and "on 2 ranks" in main[0]["out"]
    predictions = [json.loads(line) for line in main[2]["out"].splitlines()]
    assert [each["text"] for each in predictions] == TEXTS
    outcome = run_command(["predict", str(on_two[0] / "tiny-toy"), *TEXTS, "--json"])
    assert outcome["out"] == main[2]["out"]
    assert main[3]["out"].count("up to date, skipped") >= 3
    told = [outcome["err"] for outcome in (main[5], other[5]) if "error" in outcome["err"]]
    assert len(told) == 1 and "nothing.csv does not exist" in told[0]


def test_ranks_wait_for_data_that_is_made_anew(tmp_path: Path, data: Path, on_two: tuple[Path, Any]) -> None:
    """The same folders were made before in these processes: who does not wait takes the old rows."""
    outcome = run_command(["train", "--dataset", str(data), *SETTINGS, *FEWER, "--root", str(tmp_path)])
    assert outcome["code"] == 0, outcome
    expected, found = (
        [line["loss"] for line in read_lines(root / "fewer/metrics.jsonl") if "loss" in line]
        for root in (tmp_path, on_two[0])
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_two_ranks_count_the_documents_of_a_step_once(on_two: tuple[Path, Any]) -> None:
    (end,) = (line for line in read_lines(on_two[0] / "fewer/metrics.jsonl") if "train_runtime" in line)
    # Two steps of 16; both figures are rounded.
    documents = end["train_samples_per_second"] * end["train_runtime"]
    assert documents == pytest.approx(32, rel=0.01)


OWN_ROWS = """
import sys
from qwenkit import QwenTrainingPipeline

pipeline = QwenTrainingPipeline(sys.argv[1], root="output", overrides=sys.argv[2:])
pipeline.load_datasets()
pipeline.train_dataset = pipeline.train_dataset.select(range(64))
pipeline.train()
"""


@pytest.mark.slow
def test_rows_that_are_changed_before_they_are_prepared_end_the_ranks_that_wait_for_them(
    tmp_path: Path, data: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN_ROWS)
    words = (tmp_path / "own.py", data, *SETTINGS[1::2], "training.max_steps=2")
    done = launch(tmp_path, *words)
    assert done.returncode == 1
    assert "run `qwenkit prepare --dataset ...` first, in one process" in done.stderr
    prepared = run_command(["prepare", "--dataset", str(data), "--root", str(tmp_path / "output"), *SETTINGS])
    assert prepared["code"] == 0, prepared
    done = launch(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    verify(tmp_path / "output/tiny-toy-own/trained", deep=True)


ENCODE = """
import polars as pl
from qwenkit.console import Console
from qwenkit.ranks import find_ranks
from qwenkit.steps.labelled import LabelledSet
from qwenkit.tokens.tokenizer import train_tokenizer

ranks = find_ranks()
ranks.meet()
texts = ["the rain", "mud bus kitchen"] * 20
tokenizer = train_tokenizer(texts, vocab_size=300, max_length=16)
# An empty text cannot be tokenized.
mine = texts if ranks.is_main else [""] * 40
frame = pl.DataFrame({"row_id": range(40), "text": mine, "label_id": [0] * 40})
options = {"max_length": 16, "truncation": True, "normalisation": [], "console": Console()}
encoded = LabelledSet(title="t", frame=frame).encode(tokenizer=tokenizer, **options)
first, second = ranks.gather(list(encoded["input_ids"]))
assert len(first) == 40 and first == second
"""


@pytest.mark.slow
def test_rows_to_score_are_tokenized_by_one_rank_for_all(tmp_path: Path) -> None:
    """Each would start a process a core, and have the same done."""
    (tmp_path / "encode.py").write_text(ENCODE)
    done = launch(tmp_path, "encode.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_wrong_usage_is_shown_once(tmp_path: Path) -> None:
    done = launch(tmp_path, "-m", "qwenkit", "train", "--learning-rat", "1")
    told = done.stdout + done.stderr
    assert done.returncode == 1
    assert told.count("No such option") == 1, told
    assert "exitcode  : 2" in told


@pytest.mark.slow
def test_a_rank_that_comes_late_trains_in_the_folder_of_the_others(tmp_path: Path) -> None:
    """The main rank holds it by then, and has not yet written what run it is."""
    done = launch(tmp_path, WORKER.with_name("late_rank.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["qwen3-0.6b-toy"]


def start(folder: Path, *words: object, module: str = "qwenkit", **variables: str) -> subprocess.Popen[str]:
    """Launch a command on two ranks and leave it running; what it says goes to `told`."""
    with (folder / "told").open("w") as told:
        return subprocess.Popen(
            [sys.executable, *LAUNCH, "-m", module, *map(str, words)],
            cwd=folder,
            env=make_environment(folder, PYTHONUNBUFFERED="1", **variables),
            stdout=told,
            stderr=subprocess.STDOUT,
            text=True,
        )


def wait_until(folder: Path, process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert process.poll() is None, (folder / "told").read_text()
        assert time.monotonic() < deadline, (folder / "told").read_text()
        time.sleep(0.02)


def find_rank(process: subprocess.Popen[str], rank: int) -> int:
    """Find a rank's process id among the launcher's children."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in map(int, children):
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return child
    raise AssertionError(f"no rank {rank} among {children}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_launcher_leaves_a_checkpoint_that_one_rank_goes_on_from(
    tmp_path: Path, data: Path, on_one: Path, number: signal.Signals
) -> None:
    log = tmp_path / "output/tiny-toy/metrics.jsonl"
    command = ("train", "--dataset", data, *SETTINGS)
    process = start(tmp_path, *command, module="tests.waiting_run")
    wait_until(tmp_path, process, lambda: log.is_file() and '"step": 3,' in log.read_text())
    process.send_signal(number)
    assert process.wait(timeout=TIMEOUT_SECONDS) != 0
    told = (tmp_path / "told").read_text()
    assert told.count(f"stopped by {number.name} after step") == 1, told
    again = run_alone(tmp_path, *command, environment=make_environment(tmp_path))
    assert again.code == 0, again.told
    assert "going on from output/tiny-toy/checkpoint-" in again.out
    expected, found = (
        [line["loss"] for line in read_lines(path) if "loss" in line]
        for path in (on_one / "tiny-toy/metrics.jsonl", log)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_a_rank_that_is_killed_takes_the_others_along(tmp_path: Path, data: Path) -> None:
    log = tmp_path / "output/tiny-toy/metrics.jsonl"
    process = start(tmp_path, "train", "--dataset", data, *SETTINGS, "--epochs", 50)
    wait_until(tmp_path, process, lambda: log.is_file() and '"step": 9,' in log.read_text())
    os.kill(find_rank(process, 1), signal.SIGKILL)
    # Well within the half minute after which the launcher kills who does not leave.
    assert process.wait(timeout=25) == 1
    told = (tmp_path / "told").read_text()
    assert "Traceback (most recent call last)" not in told.partition("torch/distributed/run.py")[0][:-200]
    assert "bug of qwenkit's" not in told
    verify(tmp_path / "output/tiny-toy/checkpoint-8", deep=True)


@pytest.mark.slow
def test_the_accelerate_example_trains_on_two_processes(tmp_path: Path, data: Path, on_one: Path) -> None:
    done = launch(
        tmp_path,
        *(LAUNCHERS / "accelerate.yaml", "--num_processes", "2", "-m", "qwenkit"),
        *("train", "--dataset", data, *SETTINGS),
        launcher=ACCELERATE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on 2 ranks" in done.stdout
    folders = [root / "tiny-toy/trained" for root in (on_one, tmp_path / "output")]
    assert len({read_manifest(folder).fingerprint for folder in folders}) == 1


@pytest.mark.slow
def test_an_engine_that_is_not_ours_is_refused(tmp_path: Path, data: Path) -> None:
    environment = make_environment(tmp_path, ACCELERATE_USE_DEEPSPEED="true")
    refused = run_alone(tmp_path, "train", "--dataset", data, *SETTINGS, environment=environment)
    assert refused.code == 2
    assert "the launcher asks for DEEPSPEED" in refused.err
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
def test_the_slurm_example_is_a_script_whose_launch_works_on_one_node(tmp_path: Path, data: Path) -> None:
    """Slurm's own commands are replaced: srun by what it runs, scontrol by the name of this machine.

    srun gives a task the cores that are asked for anew, which is one where nothing is said.
    """
    commands = tmp_path / "bin"
    commands.mkdir()
    srun = 'test "${SRUN_CPUS_PER_TASK:-1}" = 4 && exec "$@"'
    torchrun = f'exec {sys.executable} -m torch.distributed.run "$@"'
    for name, body in (("srun", srun), ("scontrol", "echo localhost"), ("torchrun", torchrun)):
        (commands / name).write_text(f"#!/bin/bash\n{body}\n")
        (commands / name).chmod(0o755)
    environment = make_environment(
        tmp_path,
        SLURM_JOB_ID="17",
        SLURM_NNODES="1",
        SLURM_JOB_NODELIST="localhost",
        SLURM_GPUS_ON_NODE="2",
        SLURM_CPUS_PER_TASK="4",
        QWENKIT_PORT="0",
    )
    environment["PATH"] = f"{commands}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", str(LAUNCHERS / "train.sbatch"), "--dataset", str(data), *SETTINGS, "--max-steps", "2"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 steps of 16 documents" in done.stdout and "on 2 ranks" in done.stdout
    verify(tmp_path / "output/tiny-toy/trained", deep=True)

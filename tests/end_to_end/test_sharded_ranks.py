"""Commands on two ranks that share a model's weights (FSDP2): the numbers of one, and what one can read.

Real FSDP2 over gloo; see tests/sharding_on_cpu.py. What a GPU does otherwise cannot be seen here.
"""

import json
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from qwenkit.artifacts import read_manifest, verify
from tests.conftest import write_toy_csv
from tests.end_to_end.command_worker import run_command
from tests.end_to_end.processes import TIMEOUT_SECONDS, make_environment, run_alone
from tests.end_to_end.test_ranks import (
    ACCELERATE,
    LAUNCHERS,
    ROWS,
    SETTINGS,
    TEXTS,
    WORKER,
    flatten,
    launch,
    read_lines,
    start,
    wait_until,
)
from tests.sharding_on_cpu import LAUNCH

pytestmark = pytest.mark.slow

# As accelerate sets it unless told otherwise: transformers then reads weights on the main rank only.
SHARDED = {**LAUNCH, "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}
# About three documents: then the ranks have different numbers of micro-batches.
BUDGET = ["--set", "training.micro_batch_tokens=96", "--set", "export.formats=[merged]"]
MEASURED_TIME = ("per_second", "runtime", "peak_memory")
MODULE = "tests.sharding_on_cpu"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_csv(tmp_path_factory.mktemp("data") / "toy.csv", rows=ROWS)


@pytest.fixture(scope="module", params=["adapter", "full"])
def command(request: pytest.FixtureRequest, data: Path) -> list[str]:
    """Everything from the data to an export: of an adapter with whole embeddings, or of all weights."""
    method = ["--set", "peft.enabled=false"] if request.param == "full" else []
    return ["run", "--dataset", str(data), *SETTINGS, *BUDGET, *method]


@pytest.fixture(scope="module")
def on_one(tmp_path_factory: pytest.TempPathFactory, command: list[str]) -> Path:
    """A run on one rank."""
    root = tmp_path_factory.mktemp("one") / "output"
    outcome = run_command([*command, "--root", str(root)])
    assert outcome["code"] == 0, outcome
    return root / "tiny-toy"


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory, command: list[str]) -> tuple[Path, list[str]]:
    """The same on two ranks that share the weights, twice, then a prediction: the run and the output."""
    folder = tmp_path_factory.mktemp("two")
    words = [*command, "--root", str(folder / "output")]
    predict = ["predict", str(folder / "output" / "tiny-toy"), *TEXTS, "--json"]
    (folder / "commands.json").write_text(json.dumps([words, words, predict]), encoding="utf-8")
    done = launch(folder, WORKER, folder / "commands.json", folder / "results.json", **SHARDED)
    assert done.returncode == 0, done.stdout + done.stderr
    main, other = (json.loads((folder / f"results-{rank}.json").read_text()) for rank in (0, 1))
    assert [outcome["code"] for outcome in (*main, *other)] == [0] * 6, (main, other)
    assert "are spread over 2 ranks" in main[0]["out"]
    assert [outcome["out"] for outcome in other] == [""] * 3
    return folder / "output" / "tiny-toy", [outcome["out"] for outcome in main]


def test_sharing_ranks_log_the_losses_and_metrics_of_one(
    on_one: Path, on_two: tuple[Path, list[str]]
) -> None:
    one, two = (read_lines(run / "metrics.jsonl") for run in (on_one, on_two[0]))
    assert len(one) == len(two) > 16
    for expected, found in zip(one, two, strict=True):
        assert expected.keys() == found.keys()
        for name in expected:
            if not any(measured in name for measured in MEASURED_TIME):
                assert found[name] == pytest.approx(expected[name], rel=1e-5), (name, expected)


def test_sharing_ranks_score_and_measure_as_one(on_one: Path, on_two: tuple[Path, list[str]]) -> None:
    for folder in ("trained", "evaluated/after", "exported/merged"):
        verify(on_two[0] / folder, deep=True)
        fingerprints = {read_manifest(run / folder).fingerprint for run in (on_one, on_two[0])}
        assert len(fingerprints) == 1, folder
    metrics = [json.loads((run / "evaluated/after/metrics.json").read_text()) for run in (on_one, on_two[0])]
    assert flatten(metrics[1]) == pytest.approx(flatten(metrics[0]), rel=1e-4, abs=1e-6)
    for name in ("trained/validation_predictions.parquet", "evaluated/after/predictions.parquet"):
        expected, found = (pl.read_parquet(run / name) for run in (on_one, on_two[0]))
        for column, kind in expected.schema.items():
            if kind.is_float():
                np.testing.assert_allclose(found[column], expected[column], rtol=1e-4, atol=1e-5)
    assert on_two[1][1].count("up to date, skipped") >= 4


def test_one_process_takes_what_sharing_ranks_have_trained(
    on_two: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Not a weight is lost or laid out otherwise: scores are those that the ranks had."""
    run = on_two[0]
    out = tmp_path / "again"
    outcome = run_command(["evaluate", str(run), "--out", str(out), "--root", str(run.parent), "--force"])
    assert outcome["code"] == 0, outcome
    expected, found = (pl.read_parquet(f / "predictions.parquet") for f in (run / "evaluated/after", out))
    for column, kind in expected.schema.items():
        if kind.is_float():
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-5, atol=1e-5)
    printed = [
        run_command(["predict", str(folder), *TEXTS, "--json"])["out"]
        for folder in (run, run / "exported/merged")
    ]
    trained, merged = ([json.loads(line) for line in each.splitlines()] for each in printed)
    assert printed[0] == on_two[1][2]
    assert [each["text"] for each in trained] == TEXTS
    for one, other in zip(trained, merged, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def test_a_stopped_launcher_leaves_a_checkpoint_that_sharing_ranks_go_on_from(
    tmp_path: Path, on_one: Path, command: list[str]
) -> None:
    """Begun with torchrun, ended by `accelerate launch` with the example's file."""
    log = tmp_path / "output/tiny-toy/metrics.jsonl"
    words = ["train", *command[1:]]
    process = start(tmp_path, *words, module="tests.waiting_run", **SHARDED)
    wait_until(tmp_path, process, lambda: log.is_file() and '"step": 3,' in log.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=TIMEOUT_SECONDS) != 0
    told = (tmp_path / "told").read_text()
    assert told.count("stopped by SIGTERM after step") == 1, told
    launcher = (*ACCELERATE, str(LAUNCHERS / "fsdp.yaml"), "--num_processes", "2", "-m", MODULE)
    again = launch(tmp_path, *words, launcher=launcher)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "going on from output/tiny-toy/checkpoint-" in again.stdout
    assert "are spread over 2 ranks" in again.stdout
    verify(tmp_path / "output/tiny-toy/trained", deep=True)
    expected, found = (
        [line["loss"] for line in read_lines(path) if "loss" in line]
        for path in (on_one / "metrics.jsonl", log)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_cannot_be_shared_is_refused_before_anything_is_loaded(tmp_path: Path, data: Path) -> None:
    words = ("train", "--dataset", data, *SETTINGS)
    old = make_environment(tmp_path, **LAUNCH | {"FSDP_VERSION": "1"})
    refused = run_alone(tmp_path, *words, environment=old)
    assert (refused.code, "set fsdp_version: 2 in the fsdp_config" in refused.err) == (2, True), refused.told
    quantized = ("--quantization", "nf4", "--set", "training.optim=paged_adamw_8bit")
    refused = run_alone(tmp_path, *words, *quantized, environment=make_environment(tmp_path, **LAUNCH))
    assert refused.code == 2
    assert "FSDP does not spread nf4 weights" in refused.err
    assert "FSDP does not spread the state of paged_adamw_8bit" in refused.err
    assert not (tmp_path / "output").exists()


def test_a_launcher_that_cannot_share_is_told_of(tmp_path: Path, data: Path) -> None:
    """On a CPU accelerate leaves FSDP out, unless a test lifts its check."""
    words = ("train", "--dataset", data, *SETTINGS, "--max-steps", "2")
    done = launch(tmp_path, "-m", "qwenkit", *words, **SHARDED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("here each one holds the whole model") == 1

"""Training in processes of its own: killed from outside, and spread over two ranks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qwenkit.training.checkpoints import find_resumable_checkpoint
from qwenkit.training.steps import StepSampler
from tests.training.tiny_training import make_rows

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "training_process.py"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TIMEOUT_SECONDS = 300


def start(
    tmp_path: Path, jobs: list[dict], *, launcher: tuple[str, ...] = (), **variables: str
) -> subprocess.Popen:
    path = tmp_path / f"{jobs[0]['name']}.json"
    path.write_text(json.dumps(jobs), encoding="utf-8")
    search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {
        **os.environ,
        "PYTHONPATH": search_path,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, *launcher, str(SCRIPT), str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    return output


def make_job(tmp_path: Path, base_folder: Path, name: str, *, run: str | None = None, **options) -> dict:
    training = options.pop("training", {})
    return {
        "name": name,
        "base_folder": str(base_folder),
        "run_folder": str(tmp_path / (run or name)),
        "result": str(tmp_path / f"{name}.result.json"),
        "rows": 65,
        "training": {"num_train_epochs": 2.0, **training},
        **options,
    }


def read_result(job: dict) -> dict:
    return json.loads(Path(job["result"]).read_text(encoding="utf-8"))


def column(result: dict, name: str) -> list[float]:
    return [record[name] for record in result["log"] if name in record]


@pytest.mark.slow
def test_sigterm_from_outside_leaves_a_resumable_checkpoint(tmp_path, base_folder):
    job = make_job(tmp_path, base_folder, "killed", pause_seconds=0.3, training={"num_train_epochs": 50.0})
    process = start(tmp_path, [job])
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (metrics.is_file() and '"step": 2' in metrics.read_text(encoding="utf-8")):
        assert process.poll() is None and time.monotonic() < deadline, finish(process)
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = finish(process)
    assert process.returncode == 143, output
    assert find_resumable_checkpoint(tmp_path / "killed") is not None


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_nothing_that_looks_whole_and_is_not(tmp_path, base_folder):
    """A checkpoint at each step; killed while it is busy, then resumed until it stops early."""
    training = {"num_train_epochs": 400.0, "eval_steps": 1}
    job = make_job(tmp_path, base_folder, "killed", training=training)
    process = start(tmp_path, [job])
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while find_resumable_checkpoint(tmp_path / "killed") is None:
        assert process.poll() is None and time.monotonic() < deadline, finish(process)
        time.sleep(0.01)
    process.kill()
    finish(process)
    job = make_job(tmp_path, base_folder, "resumed", run="killed", resume=True, training=training)
    process = start(tmp_path, [job])
    output = finish(process)
    assert process.returncode == 0, output
    steps = [record["step"] for record in read_result(job)["log"] if "loss" in record]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.slow
def test_two_ranks_take_the_same_steps_as_one(tmp_path, base_folder):
    """65 documents in steps of 32: the last step of each epoch leaves one rank without any."""
    shared = {"training": {"eval_steps": 1, "learning_rate": 1e-3}}
    one = make_job(tmp_path, base_folder, "one", **shared)
    two = make_job(tmp_path, base_folder, "two", **shared)
    cut = make_job(tmp_path, base_folder, "cut", stop_after=2, **shared)
    resumed = make_job(tmp_path, base_folder, "resumed", run="cut", resume=True, **shared)
    other = make_job(tmp_path, base_folder, "other", stop_after=2, **shared)
    alone = make_job(tmp_path, base_folder, "alone", run="other", resume=True, **shared)
    for jobs, launcher in (([two, cut, resumed, other], tuple(TORCHRUN)), ([one, alone], ())):
        process = start(tmp_path, jobs, launcher=launcher)
        output = finish(process)
        assert (process.returncode == 0) == (jobs[-1] is alone), output
    results = {job["name"]: read_result(job) for job in (one, two, resumed, alone)}
    assert (results["one"]["world_size"], results["two"]["world_size"]) == (1, 2)
    for name in ("loss", "grad_norm", "eval_loss", "eval_balanced_accuracy"):
        expected = column(results["one"], name)
        assert len(expected) == 6
        # The same sums in float32, in another order.
        np.testing.assert_allclose(column(results["two"], name), expected, rtol=1e-5, err_msg=name)
        assert column(results["resumed"], name) == column(results["two"], name)
        # Begun on two ranks, finished on one: without dropout nothing else depends on their number.
        np.testing.assert_allclose(column(results["alone"], name), expected, rtol=1e-5, err_msg=name)
    assert read_result(cut)["exit_code"] == 143


@pytest.mark.slow
def test_a_rank_short_of_memory_repeats_its_share_unless_the_others_wait_for_it(tmp_path, base_folder):
    """16 documents a rank and step, 8 a micro-batch: the second and last ends in the ranks' exchange."""
    plain = make_job(tmp_path, base_folder, "plain")
    first = make_job(tmp_path, base_folder, "first", lacks_memory=[1, 2, 1])
    last = make_job(tmp_path, base_folder, "last", lacks_memory=[1, 2, 2])
    process = start(tmp_path, [plain, first, last], launcher=tuple(TORCHRUN))
    output = finish(process)
    assert process.returncode != 0
    assert output.count("warning (rank 1): out of memory at step 2: micro-batches have at most 4") == 1, (
        output
    )
    expected, found = (column(read_result(job), "loss") for job in (plain, first))
    assert len(expected) > 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert "so the step cannot be repeated by one of them" in output
    assert not Path(last["result"]).exists()


@pytest.mark.slow
def test_a_checkpoint_may_take_longer_than_an_exchange(tmp_path, base_folder):
    """Between GPUs that has 10 minutes by default, while the main rank writes and hashes a large model."""
    seconds = {"exchange_seconds": 20, "write_seconds": 25}
    job = make_job(tmp_path, base_folder, "large", training={"max_steps": 1}, **seconds)
    process = start(tmp_path, [job], launcher=tuple(TORCHRUN))
    output = finish(process)
    assert process.returncode == 0, output
    assert read_result(job)["world_size"] == 2
    assert find_resumable_checkpoint(tmp_path / "large") is not None


@pytest.mark.slow
def test_a_rehearsal_of_two_ranks_leaves_no_trace(tmp_path, base_folder):
    """Dropout on, so that a generator that was not set back would show."""
    jobs = [
        make_job(tmp_path, base_folder, name, dropout=0.2, training={"rehearsal": name == "rehearsed"})
        for name in ("plain", "rehearsed")
    ]
    process = start(tmp_path, jobs, launcher=tuple(TORCHRUN))
    output = finish(process)
    assert process.returncode == 0, output
    plain, rehearsed = (read_result(job) for job in jobs)
    assert plain["world_size"] == 2
    for name in ("loss", "grad_norm", "eval_loss"):
        assert column(plain, name)
        assert column(rehearsed, name) == column(plain, name)
    assert not (tmp_path / "rehearsed" / "rehearsal").exists()


@pytest.mark.slow
def test_two_ranks_stop_together_at_a_loss_that_is_not_finite(tmp_path, base_folder):
    """One of them has the document; both know it by the gradient, and name it."""
    rows = make_rows(65)
    _, second, *_ = list(StepSampler(rows["length"][:], documents_per_step=32, seed=42))
    shared = {"poisoned_row": second[7], "training": {"eval_steps": 1, "micro_batch_tokens": 1}}
    job = make_job(tmp_path, base_folder, "diverging", **shared)
    process = start(tmp_path, [job], launcher=tuple(TORCHRUN))
    output = finish(process)
    assert process.returncode != 0
    result = read_result(job)
    assert result["exit_code"] == 6, output
    assert (
        f"the loss of step 2 is not finite, at row_id {1000 + second[7]} (1 documents)" in result["message"]
    )
    assert str(tmp_path / "diverging" / "checkpoint-1") in result["message"]
    assert [record["step"] for record in result["log"] if "loss" in record] == [1]

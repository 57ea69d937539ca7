"""Training with the weights spread over two ranks by FSDP2: the steps of one process, and its files.

Real FSDP2 over gloo; see tests/sharding_on_cpu.py. What a GPU does otherwise cannot be seen here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from qwenkit.artifacts import verify
from qwenkit.training.checkpoints import list_checkpoints
from tests.sharding_on_cpu import LAUNCH
from tests.training.test_processes import TORCHRUN, column, finish, make_job, read_result, start

MEASURED = ("loss", "grad_norm", "eval_loss", "eval_balanced_accuracy")
# So few tokens that the ranks, with about as many each, need different numbers of micro-batches for them.
SETTINGS = {"eval_steps": 1, "learning_rate": 1e-3, "micro_batch_tokens": 64}


def run_jobs(tmp_path: Path, jobs: list[dict], *, sharded: bool) -> dict[str, dict[str, Any]]:
    """Train one job after the other, on two ranks or alone, and give their results by name."""
    process = start(tmp_path, jobs, launcher=tuple(TORCHRUN) if sharded else (), **LAUNCH if sharded else {})
    output = finish(process)
    assert all(Path(job["result"]).is_file() for job in jobs), output
    results = {job["name"]: read_result(job) for job in jobs}
    for result in results.values():
        # Each layer by itself: only one at a time is held whole.
        assert result["sharded"].count("FSDPQwen3DecoderLayer") == (2 if sharded else 0)
    return results


@pytest.fixture(scope="module", params=["adapter", "full"])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, base_folder: Path
) -> tuple[Path, dict[str, dict[str, Any]]]:
    """The same run on one rank and on two; stopped and gone on with on as many, on fewer and on more."""
    folder = tmp_path_factory.mktemp("runs")

    def job(name: str, **options: Any) -> dict[str, Any]:
        training = SETTINGS | options.pop("training", {})
        is_full = request.param == "full"
        return make_job(folder, base_folder, name, full=is_full, training=training, **options)

    results = run_jobs(folder, [job("one"), job("cut_one", stop_after=2)], sharded=False)
    results |= run_jobs(
        folder,
        [
            job("two"),
            job("cut", stop_after=2),
            job("resumed", run="cut", resume=True),
            job("more", run="cut_one", resume=True),
            job("rehearsed", training={"rehearsal": True}),
            # What is gathered first is then gathered for an evaluation.
            job("measured", eval_on_start=True),
            job("cut_two", stop_after=2),
        ],
        sharded=True,
    )
    return folder, results | run_jobs(folder, [job("fewer", run="cut_two", resume=True)], sharded=False)


@pytest.mark.slow
def test_two_ranks_that_share_the_weights_take_the_steps_of_one(runs: tuple[Path, Any]) -> None:
    """65 documents in steps of 32: the last step of each epoch leaves one rank without any."""
    results = runs[1]
    for name in MEASURED:
        expected = column(results["one"], name)
        assert len(expected) == 6
        for run in ("two", "fewer", "more"):
            # The same sums in float32, in another order.
            np.testing.assert_allclose(
                column(results[run], name), expected, rtol=1e-5, err_msg=f"{run} {name}"
            )
        for run in ("resumed", "rehearsed"):
            assert column(results[run], name) == column(results["two"], name), (run, name)
    assert column(results["measured"], "loss") == column(results["two"], "loss")
    assert results["cut"]["exit_code"] == 143


@pytest.mark.slow
def test_a_rank_with_fewer_micro_batches_runs_empty_ones(runs: tuple[Path, Any]) -> None:
    main, other = runs[1]["two"]["micro_batches"]
    assert any(main_one[0] != other_one[0] for main_one, other_one in zip(main, other, strict=True))
    assert min(filled for filled, _ in [*main, *other]) == 0
    assert [run for _, run in main] == [run for _, run in other]
    assert [run for _, run in main] == [max(a, b) for (a, _), (b, _) in zip(main, other, strict=True)]


@pytest.mark.slow
def test_what_the_ranks_share_is_saved_as_one_process_saves_it(runs: tuple[Path, Any]) -> None:
    checkpoints = [list_checkpoints(runs[0] / run) for run in ("one", "two")]
    assert [step for step, _ in checkpoints[0]] == [step for step, _ in checkpoints[1]]
    for (_, one), (_, two) in zip(*checkpoints, strict=True):
        verify(two, deep=True)
        names = [{path.name for path in each.iterdir()} for each in (one, two)]
        # One state of the random numbers for each rank.
        assert names[1] - names[0] == {"rng_state_0.pth", "rng_state_1.pth"}
        assert names[0] - names[1] == {"rng_state.pth"}
        expected, found = read_weights(one), read_weights(two)
        assert expected.keys() == found.keys()
        for name, tensor in expected.items():
            np.testing.assert_allclose(found[name], tensor, rtol=1e-4, atol=1e-6, err_msg=name)
        states = [torch.load(each / "optimizer.pt", weights_only=True) for each in (one, two)]
        assert describe(states[0]) == describe(states[1])


@pytest.mark.slow
def test_the_best_weights_come_back_whole(runs: tuple[Path, Any]) -> None:
    """Right after an evaluation, when some of them still lie gathered beside the ranks' parts."""
    folder, results = runs
    accuracies = column(results["two"], "eval_balanced_accuracy")
    best = int(np.argmax(accuracies)) + 1
    assert best < 6, "the last weights are the best: nothing would show"
    expected, found = (read_weights(folder / "two" / name) for name in (f"checkpoint-{best}", "in_the_end"))
    assert expected.keys() == found.keys()
    assert all(np.array_equal(found[name], tensor) for name, tensor in expected.items())


def describe(state: Any) -> Any:
    """Give an optimizer's state with the kind of each tensor instead of its values."""
    if isinstance(state, dict):
        return {key: describe(each) for key, each in state.items()}
    return (type(state), state.shape, state.dtype) if isinstance(state, torch.Tensor) else state


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    tensors = {name: each for path in folder.glob("*.safetensors") for name, each in load_file(path).items()}
    assert tensors
    return {name: tensor.numpy() for name, tensor in tensors.items()}

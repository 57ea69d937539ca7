"""The benchmarks of training measure what they say: run with toy sizes, whatever the figures are."""

import json
from pathlib import Path

import pytest
from torch.nn import Linear
from transformers import TrainingArguments

from qwenkit.config import load_config
from qwenkit.modeling.device import describe_machine
from tests.benchmarks import gpu, gpu_variants, train
from tests.benchmarks.workload import LONGEST, SequentialTrainer, Speed, draw_documents, time_stock

RECORD = {"name", "value", "unit", "reference", "ratio"}


def test_documents_are_as_long_as_raid_s() -> None:
    lengths = draw_documents(2000, vocab_size=50)["length"]
    assert max(lengths) == LONGEST
    assert 265 < sum(lengths) / len(lengths) < 295
    assert 0.25 < sum(length == LONGEST for length in lengths) / len(lengths) < 0.45


def test_a_machine_without_a_gpu_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "torch finds none here" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_benchmark_of_a_cpu_compares_equal_work() -> None:
    sizes = {
        **train.SMALL,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "head_dim": 16,
    }
    results = list(train.main(documents=72, evaluated=20, compiled=160, repetitions=1, sizes=sizes))
    assert all(result.keys() >= RECORD for result in results)
    named = {result["name"]: result for result in results}
    assert named["largest relative difference of a step's loss, stock Trainer"]["value"] < 1e-5
    assert named["padding, stock Trainer"]["value"] < named["padding, stock Trainer"]["reference"]
    assert named["evaluation, Trainer.predict"]["largest_logit_difference"] < 1e-5
    assert ("training, compiled layers" in named) == describe_machine().has_compiler
    if describe_machine().has_compiler:
        assert named["largest relative difference of a step's loss, compiled layers"]["value"] < 1e-5


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_one_way_that_does_not_run_here_leaves_the_others_their_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speed = Speed(wall_seconds=1.0, cpu_seconds=1.0, tokens=500, waste=0.1, losses=[0.7])

    def measure(variant: gpu_variants.Variant, *others: object) -> list[Speed]:
        if variant.name == "default.yaml":
            raise RuntimeError("no such kernel")
        return [speed]

    monkeypatch.setattr(gpu, "_measure", measure)
    assert gpu.main(["--tiny"]) == 1
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    errors = {result["name"]: result["error"] for result in results if "error" in result}
    assert errors == {"training, default.yaml": "RuntimeError: no such kernel"}
    assert {"training, fast.yaml"} <= {result["name"] for result in results if result["value"]}
    assert all(result.keys() >= RECORD for result in results)


def test_the_stock_trainer_trains_on_one_gpu_of_several(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    class Looks(SequentialTrainer):
        def __init__(self, *, args: TrainingArguments, **others: object) -> None:
            raise Stopped(args.n_gpu)

    def on_two(**settings: object) -> TrainingArguments:
        arguments = TrainingArguments(**settings)
        assert arguments.n_gpu < 2
        arguments._n_gpu = 2
        return arguments

    monkeypatch.setattr("tests.benchmarks.workload.TrainingArguments", on_two)
    documents = draw_documents(2, vocab_size=9, longest=4)
    config = load_config("default").config
    with pytest.raises(Stopped, match="1"):
        time_stock(Linear(2, 2), documents, config, tmp_path, vocab_size=9, trainer_class=Looks)


@pytest.mark.slow
@pytest.mark.usefixtures("no_gpu")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_benchmark_of_a_gpu_runs_every_variant_as_a_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "REPETITIONS", 2)
    results = list(gpu.run_variants(gpu_variants.TINY, product_size=64))
    assert all(result.keys() >= RECORD and "error" not in result for result in results)
    named = {result["name"].removeprefix("training, "): result for result in results}
    assert {"stock as shipped", "default.yaml", "fast.yaml"} <= named.keys()
    switches = len(gpu_variants.list_switches()) - (not describe_machine().has_compiler)
    assert len(named) == len(results) == 5 + switches + len(gpu_variants.TINY.additions)
    # fast.yaml changes nothing of the optimisation that stock without dropout and 4-bit weights does.
    assert named["fast.yaml"]["largest_loss_difference"] < 1e-5
    assert named["stock as shipped"]["ratio"] == 1.0

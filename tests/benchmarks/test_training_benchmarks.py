"""The benchmarks of training measure what they say: run with toy sizes, whatever the figures are."""

import pytest

from qwenkit.modeling.device import describe_machine
from tests.benchmarks import gpu, gpu_variants, train
from tests.benchmarks.workload import LONGEST, draw_documents

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
    results = list(train.main(documents=72, evaluated=20, repetitions=1, sizes=sizes))
    assert all(result.keys() >= RECORD for result in results)
    named = {result["name"]: result for result in results}
    assert named["largest relative difference of a step's loss, stock Trainer"]["value"] < 1e-5
    assert named["padding, stock Trainer"]["value"] < named["padding, stock Trainer"]["reference"]
    assert named["evaluation, Trainer.predict"]["largest_logit_difference"] < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_benchmark_of_a_gpu_runs_every_variant_as_a_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(gpu, "REPETITIONS", 2)
    results = list(gpu.run_variants(gpu_variants.TINY, product_size=64))
    assert all(result.keys() >= RECORD for result in results)
    named = {result["name"].removeprefix("training, "): result for result in results}
    assert {"stock as shipped", "default.yaml", "fast.yaml"} <= named.keys()
    switches = len(gpu_variants.list_switches()) - (not describe_machine().has_compiler)
    assert len(named) == len(results) == 5 + switches + len(gpu_variants.TINY.additions)
    # fast.yaml changes nothing of the optimisation that stock without dropout and 4-bit weights does.
    assert named["fast.yaml"]["largest_loss_difference"] < 1e-5
    assert named["stock as shipped"]["ratio"] == 1.0

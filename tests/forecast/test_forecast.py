"""What is foretold of a run against what the run was."""

import json
import shutil
from pathlib import Path

import pytest

from qwenkit.config import Config, load_config
from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.files import read_json
from qwenkit.forecast.base import find_shape
from qwenkit.forecast.rates import find_measured_rate
from qwenkit.forecast.rows import KNOWN_ROWS, find_row_facts
from qwenkit.forecast.run import forecast_run
from qwenkit.modeling.adapters import count_trainable
from qwenkit.modeling.device import describe_machine
from qwenkit.pipeline import QwenTrainingPipeline
from qwenkit.runs import Workspace
from tests.conftest import TINY_SETTINGS


def config_of(pipeline: QwenTrainingPipeline, *settings: str) -> Config:
    """Read what the run was made with, and change some of it."""
    return load_config(pipeline.run_folder / "config.yaml", overrides=settings).config


def rows_of(pipeline: QwenTrainingPipeline, *, max_length: int = 48):
    workspace = Workspace(Path(pipeline.config.paths.root))
    return find_row_facts(workspace, pipeline.dataset_name, max_length=max_length, truncation=True)


def test_a_finished_run_is_foretold_as_it_was(finished: QwenTrainingPipeline) -> None:
    told = forecast_run(config_of(finished))
    state, arguments = finished.trainer.state, finished.trainer.args
    assert told.steps is not None and told.rows is not None
    assert told.steps.total == state.max_steps
    assert told.steps.documents_per_step == arguments.per_device_train_batch_size
    assert told.steps.warmup == arguments.get_warmup_steps(state.max_steps)
    assert told.steps.evaluations == sum("eval_loss" in record for record in state.log_history)
    trainable, total = count_trainable(finished.model)
    # The vocabulary asked for is 400, that which was learned may be smaller, and rows are padded to 64.
    assert (told.trainable, sum(told.parameters.values())) == (trainable, total)
    assert told.rows.tokens["train"] == sum(finished.train_tokenized["length"])
    assert told.rows.rows["test"] == finished.test_tokenized.num_rows


def test_the_last_step_is_evaluated_and_saved_wherever_it_falls(toy_csv: Path, tmp_path: Path) -> None:
    overrides = (*TINY_SETTINGS, "training.max_steps=3", "evaluation.run_pre_training_eval=false")
    pipeline = QwenTrainingPipeline(dataset=str(toy_csv), root=tmp_path, overrides=overrides)
    pipeline.train()
    pipeline.cleanup()
    told = forecast_run(config_of(pipeline))
    history = pipeline.trainer.state.log_history
    assert told.steps is not None
    assert told.steps.evaluations == sum("eval_loss" in record for record in history)
    assert told.steps.checkpoints == len(list(pipeline.run_folder.glob("checkpoint-*")))


def test_counted_tokens_come_from_the_tokenized_data(finished: QwenTrainingPipeline) -> None:
    rows = rows_of(finished)
    assert not rows.is_estimate
    assert rows.longest == max(finished.train_tokenized["length"])


def test_without_tokenized_data_of_that_length_the_estimate_says_so(finished: QwenTrainingPipeline) -> None:
    rows = rows_of(finished, max_length=10)
    assert rows.is_estimate
    assert "estimated" in rows.source and "qwenkit tokenize" in rows.source
    assert rows.rows == rows_of(finished).rows
    # Texts of over 100 characters are all cut.
    assert rows.mean_tokens("train") == 10


def test_documents_that_are_not_cut_are_planned_whole(toy_csv: Path, tmp_path: Path) -> None:
    whole = (*TINY_SETTINGS, "tokenization.max_length=10", "tokenization.truncation=false")
    pipeline = QwenTrainingPipeline(dataset=str(toy_csv), root=tmp_path, overrides=whole)
    pipeline.create_label_mappings()
    estimated = forecast_run(pipeline.config)
    assert estimated.rows and estimated.rows.is_estimate and estimated.mean_tokens > 10
    assert estimated.micro_batch_tokens > 8 * 16
    pipeline.tokenize_datasets()
    told = forecast_run(pipeline.config)
    longest = max(pipeline.train_tokenized["length"])
    assert told.rows and not told.rows.is_estimate
    assert told.rows.longest == longest > 10
    assert told.micro_batch_tokens == 8 * (-(-longest // 8) * 8)


def test_an_alias_is_known_before_anything_is_prepared_and_a_file_is_not(tmp_path: Path) -> None:
    for alias, (train, _, _) in KNOWN_ROWS.items():
        rows = find_row_facts(Workspace(tmp_path), alias, max_length=384, truncation=True)
        assert rows is not None and rows.is_estimate
        assert rows.rows["train"] == train
    assert find_row_facts(Workspace(tmp_path), "mine.csv", max_length=384, truncation=True) is None
    assert find_row_facts(Workspace(tmp_path), None, max_length=384, truncation=True) is None


def test_the_rate_is_that_of_the_newest_like_run(finished: QwenTrainingPipeline) -> None:
    workspace = Workspace(Path(finished.config.paths.root))
    is_like = describe_machine().name.__eq__
    rate = find_measured_rate(workspace, config_of(finished), is_like=is_like)
    assert rate is not None and rate.tokens_per_second > 0
    assert f"{finished.run_folder} (" in rate.source
    longer = config_of(finished, "training.num_train_epochs=7")
    assert find_measured_rate(workspace, longer, is_like=is_like) == rate
    for other in (
        "quantization.enabled=false",
        "peft.lora_r=4",
        "peft.use_dora=true",
        "peft.target_modules=[q_proj]",
        "peft.modules_to_save=[]",
        "peft.lora_dropout=0.0",
        "model.tiny.hidden_size=64",
        "training.compile=true",
    ):
        assert find_measured_rate(workspace, config_of(finished, other), is_like=is_like) is None


def test_a_rate_holds_for_the_device_that_it_was_measured_on(finished: QwenTrainingPipeline) -> None:
    here = "gpu" if describe_machine().is_gpu else "cpu"
    for device in ("cpu", "gpu"):
        told = forecast_run(config_of(finished), device=device)
        assert (told.rate is not None) == (device == here), device
        assert (told.seconds is not None) == (device == here), device


def test_a_rate_of_several_ranks_says_so(finished: QwenTrainingPipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "metrics.jsonl"):
        shutil.copy(finished.run_folder / name, run)
    summary = read_json(finished.run_folder / "summary.json")
    assert (summary["device"], summary["ranks"]) == (describe_machine().name, 1)
    (run / "summary.json").write_text(json.dumps(summary | {"device": "NVIDIA H100", "ranks": 8}))
    config = config_of(finished, f"paths.root={tmp_path}")
    rate = find_measured_rate(Workspace(tmp_path), config, is_like="NVIDIA H100".__eq__)
    assert rate is not None and rate.source == f"as measured in {run} (NVIDIA H100, 8 ranks)"


def test_time_is_tokens_by_rate_and_scoring_costs_a_forward_pass(finished: QwenTrainingPipeline) -> None:
    told = forecast_run(config_of(finished), tokens_per_second=1000)
    assert told.seconds and told.steps and told.rows
    epochs = told.steps.total / told.steps.per_epoch
    assert told.seconds.training == pytest.approx(told.rows.tokens["train"] * epochs / 1000)
    validations = told.rows.tokens["validation"] * (told.steps.evaluations + 1)
    # All 32 test rows afterwards, 20 of them before.
    tests = told.rows.tokens["test"] * (1 + 20 / 32)
    share = told.flops_per_token["forward"] / told.flops_per_token["step"]
    assert told.seconds.evaluation == pytest.approx((validations + tests) * share / 1000)


def test_a_token_budget_and_the_batch_size_decide_the_largest_micro_batch(tmp_path: Path) -> None:
    root = f"paths.root={tmp_path}"
    settings = [*TINY_SETTINGS, root, "tokenization.max_length=50"]
    by_batch = forecast_run(load_config(overrides=settings).config)
    assert by_batch.micro_batch_tokens == 8 * 56
    budget = load_config(overrides=[*settings, "training.micro_batch_tokens=200"]).config
    assert forecast_run(budget).micro_batch_tokens == 3 * 56
    assert forecast_run(budget).memory["activations"] < by_batch.memory["activations"]


def test_auto_is_planned_as_the_probe_will_find_it(tmp_path: Path) -> None:
    settings = [*TINY_SETTINGS, f"paths.root={tmp_path}", "training.micro_batch_tokens=auto"]
    settings.append("tokenization.max_length=50")
    on_cpu = forecast_run(load_config(overrides=settings).config, device="cpu")
    # 16 documents of 56 tokens, the whole step, are fewer than the 4,096 of a CPU.
    assert on_cpu.micro_batch_tokens == 16 * 56
    large = ["model.name=tiny", "model.tiny.hidden_size=4096", "model.tiny.num_hidden_layers=32"]
    large += ["model.tiny.intermediate_size=12288", "training.per_device_train_batch_size=4096"]
    on_gpu = forecast_run(load_config(overrides=[*settings, *large]).config, device="gpu")
    used = sum(on_gpu.memory.values())
    one_document = 56 * (on_gpu.memory["activations"] + on_gpu.memory["working memory"])
    one_document /= on_gpu.micro_batch_tokens
    limit = 0.9 * 24 * 2**30
    assert limit - one_document < used <= limit


def test_a_plan_for_a_gpu_computes_in_bfloat16_wherever_it_is_made(tmp_path: Path) -> None:
    config = load_config(overrides=[*TINY_SETTINGS, f"paths.root={tmp_path}"]).config
    cpu, gpu = forecast_run(config, device="cpu"), forecast_run(config, device="gpu")
    assert gpu.memory["CUDA context"] > 0
    assert cpu.memory["CUDA context"] == 0
    assert gpu.memory["activations"] < cpu.memory["activations"]


def test_what_is_not_known_stays_open(tmp_path: Path) -> None:
    told = forecast_run(load_config(overrides=[*TINY_SETTINGS, f"paths.root={tmp_path}"]).config)
    assert (told.rows, told.steps, told.rate, told.seconds) == (None, None, None, None)
    assert told.to_json()["tokens_per_epoch"] is None


def test_the_shape_of_a_folder_is_that_of_its_config(tmp_path: Path) -> None:
    from transformers import Qwen3Config

    Qwen3Config(hidden_size=64, num_hidden_layers=3, vocab_size=100).save_pretrained(tmp_path)
    config = load_config(overrides=[f"model.name={tmp_path}", "model.labels=[a, b, c]"]).config
    shape = find_shape(config)
    assert (shape.hidden_size, shape.num_hidden_layers, shape.num_labels) == (64, 3, 3)


def test_a_base_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no model folder: it has no config.json"):
        find_shape(load_config(overrides=[f"model.name={tmp_path}"]).config)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config.json cannot be read"):
        find_shape(load_config(overrides=[f"model.name={tmp_path}"]).config)
    with pytest.raises(ConfigError, match=r"neither a folder that exists"):
        find_shape(load_config(overrides=["model.name=no/such/thing"]).config)

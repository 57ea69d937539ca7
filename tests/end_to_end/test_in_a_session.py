"""One session with the class: settings changed on the way, runs one after the other, mistakes in between."""

import sys
from typing import Any

import numpy as np
import pytest
from transformers import TrainerCallback

from qwenkit.artifacts import read_manifest
from qwenkit.errors import ConfigError
from tests.end_to_end.own_models import score


def test_settings_changed_between_steps_take_effect(make: Any) -> None:
    pipeline = make()
    pipeline.tokenize_datasets()
    assert max(pipeline.train_tokenized["length"]) > 8
    pipeline.config.tokenization.max_length = 8
    pipeline.create_trainer()
    pipeline.config["training"]["learning_rate"] = 0.005
    pipeline.train()
    assert max(pipeline.train_tokenized["length"]) == 8
    assert pipeline.trainer.args.learning_rate == 0.005
    assert read_manifest(pipeline.trained_folder).settings["training.learning_rate"] == 0.005


def test_training_again_with_other_settings_is_another_run_from_a_fresh_model(make: Any) -> None:
    pipeline, alone = make(), make(run_name="alone")
    pipeline.train()
    pipeline.config.training.learning_rate = alone.config.training.learning_rate = 0.005
    pipeline.train()
    alone.train()
    assert pipeline.run_folder.name == "tiny-toy-2"
    texts = ["the dog laughed", "a robust tapestry"]
    np.testing.assert_array_equal(score(pipeline.trained_folder, texts), score(alone.trained_folder, texts))


def test_a_metric_that_nobody_computes_is_refused_before_training(make: Any) -> None:
    pipeline = make()
    pipeline.config.training.metric_for_best_model = "eval_balanced_acuracy"
    with pytest.raises(ConfigError, match="did you mean balanced_accuracy"):
        pipeline.setup_model()


def test_an_export_format_that_does_not_exist_is_refused_before_training(make: Any) -> None:
    pipeline = make()
    pipeline.config.export.formats = ["mergd"]
    with pytest.raises(ConfigError, match="did you mean merged"):
        pipeline.setup_model()


def test_an_export_format_whose_packages_are_missing_is_refused_before_training(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make()
    pipeline.config.export.formats = ["merged", "onnx"]
    # So Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"onnx needs onnxscript: `pip install 'qwenkit\[onnx\]'`"):
        pipeline.setup_model()


def test_two_pipelines_in_one_process_do_not_touch_each_other(make: Any) -> None:
    first, second, alone = make(), make(), make(run_name="alone")
    second.config.training.seed = alone.config.training.seed = 7
    first.create_trainer()
    second.create_trainer()
    first.train()
    second.train()
    first.cleanup()
    second.cleanup()
    alone.train()
    texts = ["the dog laughed", "a robust tapestry"]
    assert first.run_folder != second.run_folder
    np.testing.assert_array_equal(score(second.trained_folder, texts), score(alone.trained_folder, texts))


def test_after_an_exception_the_pipeline_runs_again(make: Any) -> None:
    class Fail(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            raise RuntimeError("a user's own mistake")

    pipeline = make()
    pipeline.callbacks.append(Fail())
    with pytest.raises(RuntimeError, match="own mistake"):
        pipeline.run()
    pipeline.callbacks.clear()
    pipeline.run()
    assert pipeline.post_metrics["rows"] == 32


def test_a_quiet_pipeline_prints_nothing(make: Any, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline = make()
    pipeline.run()
    pipeline.export()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")

"""What a user of the class may change or put in, each from the first step to a model that loads again."""

import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import nn
from transformers import Qwen3Config, Qwen3ForSequenceClassification, TrainerCallback

from qwenkit import Predictor, QwenTrainingPipeline
from qwenkit.artifacts import read_manifest
from qwenkit.console import Console
from qwenkit.errors import ConfigError, DataError
from qwenkit.files import read_json
from qwenkit.steps.own_code import identify_code
from qwenkit.tokens.tokenizer import train_tokenizer
from tests.conftest import TINY_SETTINGS

LABELS = ("AI_Generated", "Human_Written")


@pytest.fixture
def make(toy_csv: Path, tmp_path: Path) -> Iterator[Any]:
    """Make quiet pipelines over the toy data, two steps long, all in one root; they are cleaned up."""
    made: list[QwenTrainingPipeline] = []

    def make_pipeline(
        dataset: str | None = str(toy_csv),
        *,
        kind: Any = QwenTrainingPipeline,
        **more: Any,
    ) -> QwenTrainingPipeline:
        settings = {"root": tmp_path / "output", "overrides": TINY_SETTINGS, "max_steps": 2, **more}
        made.append(kind(dataset, console=Console(quiet=True), **settings))
        made[-1].load_config()
        return made[-1]

    yield make_pipeline
    for pipeline in made:
        pipeline.cleanup()


def make_model(vocab_size: int, *, seed: int = 0, num_labels: int = 2) -> Any:
    """Draw a classifier that no setting could name."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=12,
        num_labels=num_labels,
        pad_token_id=0,
    )
    return Qwen3ForSequenceClassification(config)


def score(folder: Path, texts: list[str]) -> np.ndarray:
    return Predictor.from_folder(folder).predict(texts).logits


# ---- Rows ----


def test_a_data_frame_alone_is_split_trained_and_evaluated(make: Any, toy_csv: Path) -> None:
    pipeline = make(None)
    pipeline.train_dataset = pl.read_csv(toy_csv)
    pipeline.run()
    assert pipeline.dataset_info["kind"] == "memory"
    assert len(pipeline.test_dataset) == 32
    assert pipeline.post_metrics["rows"] == 32


def test_equal_rows_put_in_again_find_the_run_up_to_date(make: Any, toy_csv: Path) -> None:
    first, second, third = make(None), make(None), make(None)
    first.train_dataset = pl.read_csv(toy_csv)
    first.run()
    made_at = read_manifest(first.trained_folder).created_at
    second.train_dataset = pl.read_csv(toy_csv).to_pandas()
    second.run()
    assert second.trained_folder == first.trained_folder
    assert read_manifest(second.trained_folder).created_at == made_at
    third.train_dataset = pl.read_csv(toy_csv).head(200)
    third.run()
    assert third.trained_folder != first.trained_folder


def test_rows_changed_between_steps_are_the_rows_that_are_trained_on(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.train_dataset = pipeline.train_dataset.select(range(40))
    pipeline.train()
    assert len(pipeline.train_tokenized) == 40
    assert read_manifest(pipeline.trained_folder).identity["dataset"] == "toy-own"


def test_tokenized_rows_put_in_are_trained_on(make: Any) -> None:
    pipeline = make()
    pipeline.tokenize_datasets()
    pipeline.train_tokenized = pipeline.train_tokenized.select(range(48))
    pipeline.train()
    assert pipeline.trainer.train_dataset.num_rows == 48
    assert "rows_train_tokenized" in read_manifest(pipeline.trained_folder).identity


def test_tokenized_rows_without_ids_are_refused(make: Any) -> None:
    pipeline = make()
    pipeline.tokenize_datasets()
    pipeline.train_tokenized = pipeline.train_tokenized.remove_columns("input_ids")
    with pytest.raises(DataError, match=r"train_tokenized lacks input_ids; it has row_id"):
        pipeline.train()


# ---- Labels ----


def test_labels_put_in_another_order_number_the_rows_anew(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.labels = list(reversed(LABELS))
    pipeline.train()
    first = pipeline.train_dataset[0]
    assert pipeline.id2label == {0: "Human_Written", 1: "AI_Generated"}
    assert first["label_id"] == pipeline.label2id[first["label"]]
    assert read_json(pipeline.trained_folder / "qwenkit.json")["labels"] == list(reversed(LABELS))


def test_a_label_map_that_contradicts_the_rows_is_refused(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.id2label = dict(enumerate(reversed(LABELS)))
    with pytest.raises(ConfigError, match="the rows were labelled in the order AI_Generated, Human_Written"):
        pipeline.train()


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_class_weights_that_the_loss_cannot_use_are_refused(make: Any, weights: list[float]) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.class_weights = weights
    with pytest.raises(ConfigError, match="expected 2 positive numbers"):
        pipeline.train()


def test_class_weights_put_in_reach_the_loss_and_the_manifest(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.class_weights = [3.0, 1.0]
    pipeline.train()
    assert list(pipeline.trainer.plan.class_weights) == [3.0, 1.0]
    assert read_manifest(pipeline.trained_folder).identity["class_weights"] == [3.0, 1.0]


# ---- Tokenizer and model ----


def test_a_tokenizer_put_in_is_used_and_saved(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    tokenizer = train_tokenizer(pipeline.train_dataset["text"], vocab_size=300, max_length=48)
    pipeline.tokenizer = tokenizer
    pipeline.train()
    assert len(Predictor.from_folder(pipeline.trained_folder).loaded.tokenizer) == len(tokenizer)


def test_another_tokenizer_after_tokenizing_tokenizes_again(make: Any) -> None:
    pipeline = make()
    pipeline.tokenize_datasets()
    before = pipeline.train_tokenized[0]["input_ids"]
    pipeline.tokenizer = train_tokenizer(pipeline.train_dataset["text"], vocab_size=300, max_length=48)
    pipeline.train()
    assert pipeline.train_tokenized[0]["input_ids"] != before


# PEFT, called by the user here, reads an attribute that transformers is about to rename.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("has_adapter", [False, True])
def test_a_model_put_in_is_trained_loaded_again_and_exported(make: Any, has_adapter: bool) -> None:
    pipeline = make()
    pipeline.setup_tokenizer()
    model = make_model(len(pipeline.tokenizer))
    if has_adapter:
        model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=4, target_modules=["q_proj"]))
    pipeline.model = model
    pipeline.run()
    assert pipeline.run_folder.name == "own-toy"
    texts = pipeline.test_dataset["text"][:5]
    in_memory = Predictor.from_folder(pipeline.trained_folder).predict(texts)
    predicted = pl.read_parquet(pipeline.run_folder / "evaluated/after/predictions.parquet").head(5)
    np.testing.assert_allclose(in_memory.logits[:, 0], predicted["logit_AI_Generated"], atol=1e-5)
    pipeline.export(["adapter", "merged"])
    for name in ("adapter", "merged"):
        exported = Predictor.from_folder(pipeline.run_folder / "exported" / name).predict(texts)
        # Not the logits: a merged head holds the temperature in its weights.
        np.testing.assert_allclose(exported.probabilities, in_memory.probabilities, atol=1e-4)


def test_a_model_put_in_is_known_by_its_content(make: Any) -> None:
    names = []
    for seed in (0, 0, 1):
        pipeline = make()
        pipeline.setup_tokenizer()
        pipeline.model = make_model(len(pipeline.tokenizer), seed=seed)
        pipeline.train()
        names.append(pipeline.run_folder.name)
    assert names == ["own-toy", "own-toy", "own-toy-2"]


def test_a_second_run_starts_from_the_model_put_in_not_from_what_became_of_it(make: Any) -> None:
    pipeline, fresh = make(), make(run_name="fresh")
    pipeline.setup_tokenizer()
    pipeline.model = make_model(len(pipeline.tokenizer))
    pipeline.run()
    pipeline.config.training.learning_rate = 0.02
    pipeline.run()
    fresh.config.training.learning_rate = 0.02
    fresh.setup_tokenizer()
    fresh.model = make_model(len(fresh.tokenizer))
    fresh.run()
    assert pipeline.run_folder.name == "own-toy-2"
    texts = fresh.test_dataset["text"][:8]
    np.testing.assert_array_equal(score(pipeline.trained_folder, texts), score(fresh.trained_folder, texts))


def test_a_checkpoint_of_a_model_put_in_loads_on_its_own(make: Any) -> None:
    pipeline = make(overrides=(*TINY_SETTINGS, "training.eval_steps=1", "training.save_steps=1"))
    pipeline.setup_tokenizer()
    pipeline.model = make_model(len(pipeline.tokenizer))
    pipeline.train()
    assert score(pipeline.run_folder / "checkpoint-1", ["the dog"]).shape == (1, 2)


def test_a_model_with_other_classes_is_refused(make: Any) -> None:
    pipeline = make()
    pipeline.setup_tokenizer()
    pipeline.model = make_model(len(pipeline.tokenizer), num_labels=3)
    with pytest.raises(ConfigError, match=r"has 3 classes, model.labels has 2"):
        pipeline.train()


def test_something_that_is_no_classifier_is_refused(make: Any) -> None:
    pipeline = make()
    pipeline.model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="the model put in is a Linear"):
        pipeline.train()


# ---- Training ----


def test_a_callback_sees_every_step(make: Any) -> None:
    steps = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.append(state.global_step)

    pipeline = make()
    pipeline.callbacks.append(Watch())
    pipeline.train()
    assert steps == [1, 2]


def test_an_own_metric_can_choose_the_best_model(make: Any) -> None:
    def count_words(prediction: Any) -> dict[str, float]:
        return {"mean_margin": float(abs(prediction.predictions[:, 0] - prediction.predictions[:, 1]).mean())}

    pipeline = make(overrides=(*TINY_SETTINGS, "training.eval_steps=1", "training.save_steps=1"))
    pipeline.config.training.metric_for_best_model = "eval_mean_margin"
    pipeline.trainer_options["compute_metrics"] = count_words
    pipeline.train()
    assert all("eval_mean_margin" in row for row in pipeline.trainer.state.log_history if "eval_loss" in row)


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


def test_an_own_loss_is_what_is_minimised(make: Any) -> None:
    seen = []

    def own_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        seen.append(len(labels))
        return (outputs.logits.float() ** 2).sum() / num_items_in_batch

    pipeline = make()
    pipeline.trainer_options["compute_loss_func"] = own_loss
    pipeline.train()
    assert sum(seen) == 2 * 16


def make_loss(scale: float) -> Any:
    def own_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        return scale * (outputs.logits.float() ** 2).sum() / num_items_in_batch

    return own_loss


def test_own_code_is_part_of_what_a_run_is(make: Any) -> None:
    names = []
    for loss in (None, make_loss(1.0), make_loss(1.0), make_loss(2.0)):
        pipeline = make()
        if loss is not None:
            pipeline.trainer_options["compute_loss_func"] = loss
        pipeline.train()
        names.append(pipeline.run_folder.name)
    assert names == ["tiny-toy", "tiny-toy-2", "tiny-toy-2", "tiny-toy-3"]


def test_code_that_cannot_be_read_is_never_the_same_twice() -> None:
    nowhere: dict[str, Any] = {}
    exec("def loss(outputs, labels): return 0", nowhere)
    assert identify_code(nowhere["loss"]) != identify_code(nowhere["loss"])
    assert identify_code(make_loss(torch.ones(1))) != identify_code(make_loss(torch.ones(1)))


def write_in_notebook(source: str) -> Any:
    """Run a cell as a kernel does: its lines can be looked up by name, but no module has them as its file."""
    name = f"/tmp/ipykernel_1/{hash(source)}.py"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    cell: dict[str, Any] = {"__name__": "notebook", "TrainerCallback": TrainerCallback}
    exec(compile(source, name, "exec"), cell)
    return cell["Watch"]()


def test_a_class_that_is_written_in_a_notebook_is_known_by_its_functions() -> None:
    source = """class Watch(TrainerCallback):
    every = 10

    def on_log(self, args, state, control, **kwargs):
        control.should_save = state.global_step % self.every == 0
"""
    known = identify_code(write_in_notebook(source))
    assert identify_code(write_in_notebook("\n\n" + source)) == known
    for changed in (
        source.replace("should_save", "should_evaluate"),
        source.replace("every = 10", "every = 20"),
        source.replace("on_log", "on_step_end"),
        source.replace("(TrainerCallback)", ""),
    ):
        assert identify_code(write_in_notebook(changed)) != known
    unreadable = source.replace("every = 10", "every = object()")
    assert identify_code(write_in_notebook(unreadable)) != identify_code(write_in_notebook(unreadable))


def test_an_overridden_step_of_training_makes_another_run(make: Any) -> None:
    class Frozen(QwenTrainingPipeline):
        def apply_lora(self) -> None:
            super().apply_lora()
            for name, parameter in self.model.named_parameters():
                if "lora_A" in name:
                    parameter.requires_grad_(False)

    plain, frozen = make(), make(kind=Frozen)
    plain.train()
    frozen.train()
    assert frozen.run_folder != plain.run_folder


def test_one_step_can_be_overridden(make: Any) -> None:
    class ShortTexts(QwenTrainingPipeline):
        def load_datasets(self) -> None:
            super().load_datasets()
            self.train_dataset = self.train_dataset.map(lambda row: {"text": row["text"][:40]})

    pipeline = make(kind=ShortTexts)
    pipeline.train()
    assert max(map(len, pipeline._prepared.splits["train"]["text"])) == 40


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


# ---- More than one, and after a failure ----


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

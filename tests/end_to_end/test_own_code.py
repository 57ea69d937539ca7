"""Callbacks, metrics, losses and steps of a user's own: they take effect, and are part of what a run is."""

import linecache
from typing import Any

import torch
from transformers import TrainerCallback

from qwenkit import QwenTrainingPipeline
from qwenkit.steps.own_code import identify_code
from tests.conftest import TINY_SETTINGS


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

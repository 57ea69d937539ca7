"""The trainer's steps and evaluations against plain torch, the stock class, and each other."""

import copy

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback

from qwenkit.steps.summaries import describe_work
from qwenkit.training.steps import StepSampler
from qwenkit.training.trainer import QwenTrainer
from tests.training.tiny_training import (
    load_base,
    load_lora,
    logged,
    make_config,
    make_rows,
    weights_of,
)

WEIGHTS = (0.7, 1.9)
# float32 sums in another order; losses and norms here are of order 1.
TOLERANCE = 1e-5


def losses_and_norms(trainer):
    trainer.train()
    return logged(trainer, "loss"), logged(trainer, "grad_norm")


def reference_step(model, rows, indices, weights=WEIGHTS):
    """Loss and gradient norm of a step by the stock class, one document at a time, without any padding."""
    logits = torch.cat([model(input_ids=torch.tensor([rows[i]["input_ids"]])).logits for i in indices])
    labels = torch.tensor([rows[i]["labels"] for i in indices])
    loss = cross_entropy(logits, labels, weight=torch.tensor(weights))
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.nn.utils.get_total_norm(grads).item()


# ---- Steps ----


def test_first_step_equals_plain_cross_entropy_document_by_document(base_folder, make_trainer):
    rows = make_rows(80)
    losses, norms = losses_and_norms(make_trainer(train_dataset=rows))
    first_step = next(iter(StepSampler(rows["length"][:], documents_per_step=32, seed=42)))
    loss, norm = reference_step(load_lora(base_folder), rows, first_step)
    assert losses[0] == pytest.approx(loss, rel=TOLERANCE)
    assert norms[0] == pytest.approx(norm, rel=TOLERANCE)


def test_accumulation_changes_neither_loss_nor_gradient_norm(make_trainer):
    """32 x 1 and 4 x 8, weighted, over three steps of which the last has 16 documents only."""
    whole = make_config(per_device_train_batch_size=32, gradient_accumulation_steps=1)
    parts = make_config(per_device_train_batch_size=4, gradient_accumulation_steps=8)
    expected = losses_and_norms(make_trainer(run="whole", config=whole))
    found = losses_and_norms(make_trainer(run="parts", config=parts))
    assert len(expected[0]) == 3
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


@pytest.mark.parametrize("tokens", [1, 100, 10_000])
def test_token_budget_gives_the_losses_of_equal_parts(make_trainer, tokens):
    """Down to one document at a time, up to a whole step at once; the last step of the epoch included."""
    expected = losses_and_norms(make_trainer(run="parts"))
    found = losses_and_norms(make_trainer(run="budget", config=make_config(micro_batch_tokens=tokens)))
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


@pytest.mark.parametrize("kind", [{"label_smoothing": 0.2}, {"focal_gamma": 2.0}])
def test_other_losses_are_cut_and_divided_like_cross_entropy(make_trainer, kind):
    expected = losses_and_norms(make_trainer(run="parts", config=make_config(**kind)))
    found = losses_and_norms(make_trainer(run="alone", config=make_config(micro_batch_tokens=1, **kind)))
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    plain = losses_and_norms(make_trainer(run="plain"))
    assert expected[0][0] != pytest.approx(plain[0][0], rel=1e-2)


def test_no_column_is_read_row_by_row(make_trainer, monkeypatch):
    """A million rows would take a quarter of a minute each time, on every rank and before the first step."""
    config = make_config(
        rehearsal=True, eval_samples=20, eval_steps=1, max_steps=2, micro_batch_tokens="auto"
    )

    def refuse(dataset):
        raise AssertionError("a dataset is read row by row")

    monkeypatch.setattr(Dataset, "__iter__", refuse)
    trainer = make_trainer(config=config)
    trainer.train()
    assert len(logged(trainer, "eval_loss")) == 2
    assert "about 1," in describe_work(trainer.args, trainer.train_dataset)


def test_loading_in_a_worker_process_changes_nothing(make_trainer):
    expected = losses_and_norms(make_trainer(run="here"))
    config = make_config(dataloader_num_workers=1)
    trainer = make_trainer(run="worker", config=config)
    assert trainer.args.dataloader_num_workers == 1
    assert losses_and_norms(trainer) == expected


def test_gradient_checkpointing_changes_memory_not_losses(make_trainer):
    expected = losses_and_norms(make_trainer(run="plain"))
    found = losses_and_norms(make_trainer(run="again", config=make_config(gradient_checkpointing=True)))
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


def test_full_fine_tuning_trains_every_weight(base_folder, make_trainer):
    model = load_base(base_folder)
    before = weights_of(model)
    make_trainer(model=model, config=make_config(load_best_model_at_end=False)).train()
    unchanged = [name for name, p in weights_of(model).items() if torch.equal(p, before[name])]
    assert unchanged == []


def test_training_learns_what_there_is_to_learn(make_trainer):
    trainer = make_trainer(train_dataset=make_rows(320), config=make_config(num_train_epochs=4.0))
    trainer.train()
    # The last token tells nine classes of ten; chance is 0.5.
    assert trainer.evaluate()["eval_balanced_accuracy"] > 0.75


def test_the_model_gets_no_mask_no_cache_and_nothing_that_it_ignores(base_folder, make_trainer):
    seen = []
    model = load_lora(base_folder)

    def watch(module, args, kwargs):
        if module.training:
            seen.append(kwargs)

    model.register_forward_pre_hook(watch, with_kwargs=True)
    make_trainer(model=model).train()
    assert seen
    for kwargs in seen:
        assert set(kwargs) == {"input_ids", "use_cache", "attention_mask"}
        assert kwargs["use_cache"] is False
        assert kwargs["attention_mask"] == {"full_attention": None}


# ---- A user's own parts ----


def squared_error(logits, labels):
    return (logits.softmax(-1)[torch.arange(len(labels)), labels] - 1.0) ** 2


def test_users_own_loss_function_is_used(make_trainer):
    def compute_loss_func(outputs, labels, num_items_in_batch=None):
        return squared_error(outputs.logits, labels).sum() / num_items_in_batch

    whole = make_config(per_device_train_batch_size=32, gradient_accumulation_steps=1)
    options = {"compute_loss_func": compute_loss_func, "class_weights": None}
    expected = losses_and_norms(make_trainer(run="whole", config=whole, **options))
    found = losses_and_norms(make_trainer(run="parts", **options))
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    assert found[0] != losses_and_norms(make_trainer(run="ours"))[0]


@pytest.mark.parametrize("is_mean", [False, True])
def test_users_own_compute_loss_may_be_a_part_or_a_mean(make_trainer, is_mean):
    class Own(QwenTrainer):
        loss_is_scaled_for_ga = False if is_mean else None

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels = inputs.pop("labels")
            losses = squared_error(model(**inputs).logits, labels)
            return losses.mean() if is_mean else losses.sum() / num_items_in_batch

    whole = make_config(per_device_train_batch_size=32, gradient_accumulation_steps=1)
    options = {"trainer_class": Own, "class_weights": None}
    expected = losses_and_norms(make_trainer(run="whole", config=whole, **options))
    found = losses_and_norms(make_trainer(run="parts", **options))
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


def test_users_own_callback_and_metric_are_called(make_trainer):
    class Counting(TrainerCallback):
        steps = 0

        def on_step_end(self, args, state, control, **kwargs):
            self.steps += 1

    counting = Counting()
    trainer = make_trainer(
        callbacks=[counting],
        compute_metrics=lambda prediction: {"share_of_class_1": float(prediction.label_ids.mean())},
    )
    trainer.train()
    assert counting.steps == 3
    expected = np.mean(make_rows(37, seed=1)["labels"])
    assert logged(trainer, "eval_share_of_class_1")[0] == pytest.approx(expected)


# ---- Evaluation ----


@pytest.mark.parametrize("batch_documents", [1, 8, 32])
def test_eval_loss_is_the_weighted_cross_entropy_over_all_rows(base_folder, make_trainer, batch_documents):
    """37 rows leave an uneven last batch whatever the batch size."""
    rows = make_rows(37, seed=1)
    config = make_config(per_device_eval_batch_size=batch_documents)
    found = make_trainer(config=config, eval_dataset=rows).evaluate()
    with torch.no_grad():
        expected, _ = _no_gradient_reference(load_lora(base_folder), rows)
    assert found["eval_loss"] == pytest.approx(expected, rel=TOLERANCE)


def _no_gradient_reference(model, rows):
    model.eval()
    logits = torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits for row in rows])
    labels = torch.tensor(rows["labels"][:])
    return cross_entropy(logits, labels, weight=torch.tensor(WEIGHTS)).item(), logits


def test_predict_returns_logits_in_row_order(base_folder, make_trainer):
    rows = make_rows(37, seed=5)
    output = make_trainer().predict(rows)
    with torch.no_grad():
        _, logits = _no_gradient_reference(load_lora(base_folder), rows)
    np.testing.assert_allclose(output.predictions, logits.numpy(), rtol=1e-4, atol=TOLERANCE)
    assert output.label_ids.tolist() == rows["labels"][:]
    assert "test_balanced_accuracy" in output.metrics


def test_evaluating_another_dataset_does_not_return_the_first_ones_result(make_trainer):
    """With persistent workers the stock Trainer answers from the loader that it cached."""
    config = make_config(dataloader_num_workers=1, dataloader_persistent_workers=True)
    trainer = make_trainer(config=config)
    first = trainer.evaluate()
    other = trainer.evaluate(make_rows(50, seed=9))
    assert (first["eval_rows"], other["eval_rows"]) == (37, 50)
    assert first["eval_loss"] != other["eval_loss"]


def test_eval_samples_takes_a_fixed_stratified_subset(make_trainer):
    rows = make_rows(200, seed=1)
    config = make_config(eval_samples=40)
    subset = make_trainer(config=config, eval_dataset=rows).eval_dataset
    assert len(subset) == 40
    assert np.mean(subset["labels"]) == pytest.approx(np.mean(rows["labels"]), abs=0.5 / 40)
    assert make_trainer(config=config, eval_dataset=rows).eval_dataset["row_id"][:] == subset["row_id"][:]


def test_training_without_validation_rows_keeps_the_last_weights(make_trainer):
    trainer = make_trainer(eval_dataset=False)
    trainer.train()
    assert logged(trainer, "eval_loss") == []
    assert trainer.state.global_step == 3


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_every_lora_tensor_gets_a_gradient_after_an_evaluation(base_folder, make_trainer, quantization):
    """On some CPUs bitsandbytes repacks 4-bit weights at the first evaluation, and LoRA is then left out."""
    model = load_lora(base_folder, quantization=quantization)
    trainer = make_trainer(model=model, config=make_config(max_steps=1, load_best_model_at_end=False))
    trainer.evaluate()
    gradients = {}

    class Keeping(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            gradients.update(
                {n: p.grad.norm().item() for n, p in model.named_parameters() if p.requires_grad}
            )

    trainer.add_callback(Keeping)
    trainer.train()
    # 2 layers x 3 projections x A and B, and the score head.
    assert len(gradients) == 13
    assert min(gradients.values()) > 0
    assert type(model.base_model.model.score.modules_to_save["default"]) is torch.nn.Linear


def test_steps_round_their_products_if_asked_and_passes_over_validation_never(make_trainer, monkeypatch):
    """Both trainers of a process do; what scores documents later computes as a process of its own would."""
    monkeypatch.setattr("qwenkit.training.build.is_torch_tf32_available", lambda: True)
    for run in ("first", "second"):
        trainer = make_trainer(run=run, config=make_config(tf32=True, max_steps=2, eval_steps=1))
        precisions = {True: set(), False: set()}

        def note(model, *args, found=precisions):
            found[model.training].add(torch.backends.cuda.matmul.fp32_precision)

        trainer.model.register_forward_pre_hook(note)
        trainer.train()
        assert precisions == {True: {"tf32"}, False: {torch.backends.cuda.matmul.fp32_precision}}
        assert torch.backends.cuda.matmul.fp32_precision != "tf32"


def test_best_weights_are_loaded_at_the_end(make_trainer):
    config = make_config(num_train_epochs=3.0, learning_rate=0.05, eval_steps=1)
    trainer = make_trainer(config=config)
    trainer.train()
    scores = logged(trainer, "eval_balanced_accuracy")
    best_step = 1 + int(np.argmax(scores))
    assert scores[-1] < max(scores), "the last weights are the best ones, so this test shows nothing"
    assert trainer.state.best_model_checkpoint == str(trainer.run_folder / f"checkpoint-{best_step}")
    assert trainer.evaluate()["eval_balanced_accuracy"] == max(scores)


def test_a_model_is_left_in_the_mode_it_was_in(base_folder, make_trainer):
    model = load_lora(base_folder)
    model.eval()
    trainer = make_trainer(model=model)
    before = copy.deepcopy(weights_of(model))
    trainer.evaluate()
    assert not model.training
    assert all(torch.equal(before[name], p) for name, p in weights_of(model).items())

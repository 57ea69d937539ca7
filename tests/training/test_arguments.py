"""The rules that turn the config into the Trainer's arguments."""

import pytest

from qwenkit.config.schema import Config
from qwenkit.errors import ConfigError
from qwenkit.training.arguments import build_training_arguments
from qwenkit.training.schedule import choose_eval_and_save_steps, choose_logging_steps, count_steps
from tests.training.tiny_training import make_config


def build(tmp_path, config=None, *, train_rows=80_000, **facts):
    return build_training_arguments(config or Config(), output_dir=tmp_path, train_rows=train_rows, **facts)


@pytest.mark.parametrize(
    ("steps_per_epoch", "logging_steps"),
    [(1, 1), (9, 1), (10, 1), (40, 2), (49, 2), (50, 5), (100, 5), (313, 15), (4000, 200), (9000, 200)],
)
def test_logging_follows_the_original_rule(steps_per_epoch, logging_steps):
    assert choose_logging_steps(steps_per_epoch) == logging_steps


@pytest.mark.parametrize(("steps_per_epoch", "interval"), [(1, 1), (9, 1), (31, 3), (310, 31), (2854, 285)])
def test_evaluation_and_saving_come_ten_times_an_epoch(steps_per_epoch, interval):
    assert choose_eval_and_save_steps(steps_per_epoch, eval_steps=None, save_steps=None) == (
        interval,
        interval,
    )


@pytest.mark.parametrize(
    ("eval_steps", "save_steps", "chosen"),
    [
        (50, None, (50, 50)),
        (50, 100, (50, 100)),
        (None, 150, (30, 150)),
        (None, 7, (7, 7)),
        (None, 37, (37, 37)),
        (None, 45, (45, 45)),
        (None, 9973, (9973, 9973)),
    ],
)
def test_an_interval_that_is_left_open_fits_the_one_that_is_set(eval_steps, save_steps, chosen):
    assert choose_eval_and_save_steps(310, eval_steps=eval_steps, save_steps=save_steps) == chosen


def test_a_save_between_two_evaluations_is_refused():
    with pytest.raises(
        ConfigError, match=r"save_steps \(150\) is not a multiple of training.eval_steps \(100\)"
    ):
        choose_eval_and_save_steps(310, eval_steps=100, save_steps=150)


def test_steps_are_counted_with_the_incomplete_last_one():
    assert [count_steps(rows, 256) for rows in (1, 256, 257, 8006)] == [1, 1, 2, 32]


def test_the_launcher_does_not_choose_the_precision(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert build(tmp_path).mixed_precision == "no"


def test_default_config_gives_the_original_recipe(tmp_path):
    arguments = build(tmp_path)
    assert arguments.per_device_train_batch_size == 256
    assert arguments.gradient_accumulation_steps == 1
    assert arguments.num_train_epochs == 3
    assert arguments.learning_rate == 1e-4
    assert arguments.lr_scheduler_type == "cosine"
    assert arguments.weight_decay == 0.01
    assert arguments.max_grad_norm == 1.0
    assert arguments.optim == "adamw_torch_fused"
    # 5 % of 3 x 313 steps, rounded up.
    assert arguments.get_warmup_steps(3 * 313) == 47
    assert (arguments.eval_steps, arguments.save_steps, arguments.logging_steps) == (31, 31, 15)
    assert arguments.metric_for_best_model == "eval_balanced_accuracy"
    assert arguments.greater_is_better and arguments.load_best_model_at_end


def test_traps_of_the_library_are_closed(tmp_path):
    arguments = build(tmp_path)
    assert arguments.logging_nan_inf_filter is False
    assert arguments.remove_unused_columns is False
    assert arguments.label_names == ["labels"]
    assert arguments.restore_callback_states_from_checkpoint is True
    assert arguments.save_only_model is False
    assert arguments.save_total_limit is None
    assert arguments.report_to == []
    assert arguments.disable_tqdm is True
    assert arguments.n_gpu <= 1


def test_a_cpu_trains_in_float32_unless_the_weights_are_bfloat16(tmp_path):
    arguments = build(tmp_path)
    assert arguments.use_cpu and not arguments.bf16
    assert build(tmp_path, computes_in_bf16=True).bf16


def test_loader_processes_are_capped_by_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(4)))
    assert build(tmp_path).dataloader_num_workers == 3
    assert build(tmp_path).dataloader_persistent_workers
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {7})
    assert build(tmp_path).dataloader_num_workers == 0
    assert not build(tmp_path).dataloader_persistent_workers


@pytest.mark.parametrize(("cores", "ranks", "workers"), [(64, 8, 6), (16, 8, 1), (8, 8, 0), (4, 8, 0)])
def test_the_ranks_of_a_machine_share_its_cores(tmp_path, monkeypatch, cores, ranks, workers):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert build(tmp_path).dataloader_num_workers == workers


def test_memory_is_pinned_for_a_gpu_only(tmp_path):
    assert build(tmp_path, has_gpu=True).dataloader_pin_memory
    assert not build(tmp_path).dataloader_pin_memory
    config = make_config(dataloader_pin_memory=False)
    assert not build(tmp_path, config, has_gpu=True).dataloader_pin_memory


def test_the_librarys_own_switch_of_tf32_is_not_touched(tmp_path):
    """It would stay on for all that the process computes later, and work once only."""
    assert build(tmp_path, make_config(tf32=True), has_gpu=True).tf32 is None


def test_without_validation_rows_nothing_is_evaluated(tmp_path):
    arguments = build(tmp_path, has_validation=False)
    assert arguments.eval_strategy == "no"
    assert not arguments.load_best_model_at_end


def test_every_training_setting_that_the_arguments_read_reaches_them(tmp_path):
    config = make_config(
        learning_rate=3e-4,
        weight_decay=0.2,
        max_grad_norm=0.5,
        lr_scheduler_type="linear",
        optim="adamw_torch",
        max_steps=7,
        seed=5,
        logging_steps=3,
        gradient_checkpointing=True,
        per_device_eval_batch_size=4,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
    )
    arguments = build(tmp_path, config)
    names = [
        "learning_rate",
        "weight_decay",
        "max_grad_norm",
        "lr_scheduler_type",
        "optim",
        "max_steps",
        "seed",
    ]
    names += ["logging_steps", "per_device_eval_batch_size", "metric_for_best_model", "greater_is_better"]
    assert {name: getattr(arguments, name) for name in names} == {
        name: config.training[name] for name in names
    }
    assert arguments.gradient_checkpointing

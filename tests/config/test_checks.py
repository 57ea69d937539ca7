"""Settings that contradict each other: each refusal with its advice, and what is fine stays silent."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from qwenkit.config import Config, check_config, check_metric, check_names
from qwenkit.config.checks import HIGHER_IS_BETTER, LOWER_IS_BETTER
from qwenkit.metrics import compute_metrics, flatten_metrics

Refusal = Callable[..., str]


def config_with(settings: Mapping[str, Any]) -> Config:
    config = Config()
    for name, value in settings.items():
        *sections, key = name.split(".")
        place: Any = config
        for section in sections:
            place = place[section]
        place[key] = value
    return config


@pytest.mark.parametrize(
    ("settings", "name", "advice"),
    [
        ({"model.labels": ["a", "a"]}, "model.labels", "a stands there more than once"),
        ({"model.labels": ["a"]}, "model.labels", "at least two classes, found 1"),
        ({"model.num_labels": 3}, "model.num_labels", "does not agree with the 2 labels"),
        (
            {"model.label_mapping": {"0": "AI", "1": "AI_Generated", "2": "Human_Written"}},
            "model.label_mapping",
            "AI is not one of model.labels",
        ),
        (
            {"model.label_mapping": {"0": "AI_Generated", "1": "AI_Generated"}},
            "model.label_mapping",
            "no value stands for Human_Written",
        ),
        ({"model.label_column": "text"}, "model.label_column", "same column as text_column"),
        ({"evaluation.positive_label": "AI"}, "evaluation.positive_label", "AI_Generated, Human_Written"),
        ({"dataset.split_ratios": [0.8, 0.1, 0.2]}, "dataset.split_ratios", "add up to 1"),
        ({"dataset.split_ratios": [0.9, 0.1, 0.0]}, "dataset.split_ratios", "three positive shares"),
        ({"dataset.test_split": "train"}, "dataset.test_split", "the three splits must differ"),
        ({"dataset.path": "a.csv"}, "dataset.path", "and no data set is named"),
        ({"dataset.path": "a.csv", "dataset.name": "10k"}, "dataset.path", "and 10k is named"),
        ({"dataset.streaming": True}, "dataset.streaming", "wants dataset.max_rows"),
        ({"dataset.augment.attacks": ["paraphrase"]}, "dataset.augment.paraphraser", "wants a model"),
        ({"dataset.augment.paraphrase_prompt": "x"}, "dataset.augment.paraphrase_prompt", "must hold {text}"),
        ({"class_weights.method": "manual"}, "class_weights.manual_weights", "needs one weight a class"),
        (
            {"class_weights.method": "manual", "class_weights.manual_weights": [1.0]},
            "class_weights.manual_weights",
            "1 weights for 2 labels",
        ),
        ({"quantization.load_in_8bit": True}, "quantization.load_in_8bit", "set one of them to false"),
        ({"quantization.load_in_4bit": False}, "quantization.enabled", "set load_in_4bit or load_in_8bit"),
        ({"peft.enabled": False}, "quantization.enabled", "quantized weights cannot be trained themselves"),
        ({"peft.target_modules": []}, "peft.target_modules", "peft.enabled: false"),
        (
            {"peft.enabled": False, "quantization.enabled": False, "export.formats": ["adapter"]},
            "export.formats",
            "no adapter to export",
        ),
        ({"model.tiny.num_key_value_heads": 3}, "model.tiny.num_key_value_heads", "does not divide"),
        ({"model.name": "tiny", "export.merge_base": "original"}, "export.merge_base", "take dequantized"),
        ({"training.max_steps": 0}, "training.max_steps", "-1 goes by num_train_epochs"),
        ({"training.max_steps": 1}, "training.warmup_ratio", "0.05 of 1 steps"),
        (
            {"training.max_steps": 10, "training.warmup_ratio": 0.95},
            "training.warmup_ratio",
            "is 10 of warm-up",
        ),
        ({"training.eval_steps": 100, "training.save_steps": 150}, "training.save_steps", "not a multiple"),
        (
            {"training.load_best_model_at_end": False},
            "early_stopping.enabled",
            "load_best_model_at_end: true",
        ),
        ({"training.greater_is_better": False}, "training.greater_is_better", "better when it is higher"),
        ({"training.metric_for_best_model": "eval_loss"}, "training.greater_is_better", "set this to false"),
        ({"training.metric_for_best_model": "eval_brier"}, "training.greater_is_better", "set this to false"),
        ({"training.micro_batch_tokens": 383}, "training.micro_batch_tokens", "max_length (384)"),
        (
            {"training.focal_gamma": 2.0, "training.label_smoothing": 0.1},
            "training.focal_gamma",
            "set one of them to 0",
        ),
        ({"evaluation.batch_tokens": 100}, "evaluation.batch_tokens", "do not hold one document"),
    ],
)
def test_a_contradiction_is_found_with_advice(settings: dict[str, Any], name: str, advice: str) -> None:
    problems = check_config(config_with(settings))
    assert [problem.name for problem in problems] == [name]
    assert advice in problems[0].message


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model.num_labels": 2},
        {"model.label_mapping": {"0": "Human_Written", "1": "AI_Generated", "2": None}},
        {"dataset.split_ratios": [0.333, 0.333, 0.334]},
        {"quantization.load_in_8bit": True, "quantization.load_in_4bit": False},
        {"quantization.enabled": False, "quantization.load_in_4bit": False},
        {"peft.enabled": False, "quantization.enabled": False},
        {"training.max_steps": 2},
        {"training.eval_steps": 100, "training.save_steps": 300},
        {"training.load_best_model_at_end": False, "early_stopping.enabled": False},
        {"training.metric_for_best_model": "eval_loss", "training.greater_is_better": False},
        {"training.metric_for_best_model": "ece", "training.greater_is_better": False},
        # A user's own, of which only they know which way is better.
        {"training.metric_for_best_model": "eval_my_error", "training.greater_is_better": False},
        {"class_weights.method": "manual", "class_weights.manual_weights": [1.0, 2.0]},
        {"class_weights.manual_weights": [1.0]},
        {"training.micro_batch_tokens": 384},
        {"training.micro_batch_tokens": "auto"},
    ],
)
def test_what_goes_together_is_left_alone(settings: dict[str, Any]) -> None:
    assert check_config(config_with(settings)) == []


def test_a_metric_that_does_not_exist_is_found_before_training() -> None:
    config = config_with({"training.metric_for_best_model": "eval_acuracy"})
    problems = check_metric(config, metrics=["accuracy", "loss"])
    assert [(problem.name, problem.message) for problem in problems] == [
        ("training.metric_for_best_model", "acuracy is unknown; did you mean accuracy?"),
    ]
    assert check_metric(Config(), metrics=["balanced_accuracy"]) == []


def test_of_each_metric_it_is_known_which_way_is_better() -> None:
    measured = compute_metrics(np.eye(2), np.arange(2), labels=["a", "b"])
    names = set(flatten_metrics(measured, prefix="")) - {"rows"}
    assert {*LOWER_IS_BETTER, *HIGHER_IS_BETTER} == names
    assert not set(LOWER_IS_BETTER) & set(HIGHER_IS_BETTER)


def test_each_setting_that_a_check_reads_is_named_by_it() -> None:
    # A problem is left out where one of its settings is wrong already; that works only if all are named.
    for settings in ({"peft.enabled": False}, {"model.num_labels": 3}, {"training.micro_batch_tokens": 1}):
        problem = check_config(config_with(settings))[0]
        assert set(settings) <= {problem.name, *problem.also}
        assert problem.also


def test_rules_attacks_and_formats_that_do_not_exist_are_found_with_the_nearest_name() -> None:
    config = config_with(
        {
            "dataset.normalize": ["lower_cse", "nfkc"],
            "dataset.augment.attacks": ["numbr"],
            "export.formats": ["merged", "zip"],
        }
    )
    known = {"rules": ["nfkc", "lower_case"], "attacks": ["number"], "formats": ["merged", "adapter"]}
    assert {problem.name: problem.message for problem in check_names(config, **known)} == {
        "dataset.normalize": "lower_cse is unknown; did you mean lower_case?",
        "dataset.augment.attacks": "numbr is unknown; did you mean number?",
        "export.formats": "zip is unknown; there is adapter, merged",
    }
    assert check_names(Config(), rules=[], attacks=[], formats=["merged"]) == []

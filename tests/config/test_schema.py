"""The schema: the original's defaults, both kinds of access, and assignments that are checked."""

import copy

import pytest

from qwenkit.config import (
    Config,
    ConfigError,
    config_reference,
    flatten_config,
    runtime_only_settings,
    setting_names,
)
from qwenkit.config.section import Section


def test_defaults_are_the_original_recipe() -> None:
    values = flatten_config(Config())
    recipe = {
        "model.name": "Qwen/Qwen3-0.6B",
        "model.labels": ["AI_Generated", "Human_Written"],
        "tokenization.max_length": 384,
        "quantization.bnb_4bit_quant_type": "nf4",
        "quantization.bnb_4bit_use_double_quant": True,
        "peft.lora_r": 16,
        "peft.lora_alpha": 32,
        "peft.lora_dropout": 0.05,
        "peft.target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "training.num_train_epochs": 3.0,
        "training.per_device_train_batch_size": 32,
        "training.gradient_accumulation_steps": 8,
        "training.learning_rate": 1e-4,
        "training.lr_scheduler_type": "cosine",
        "training.warmup_ratio": 0.05,
        "training.weight_decay": 0.01,
        "training.max_grad_norm": 1.0,
        "training.optim": "adamw_torch_fused",
        "training.save_total_limit": 3,
        "training.metric_for_best_model": "eval_balanced_accuracy",
        "training.seed": 42,
        "early_stopping.patience": 4,
        "early_stopping.threshold": 0.001,
        "class_weights.method": "inverse_frequency",
        "evaluation.pre_training_eval_samples": 1000,
    }
    assert {name: values[name] for name in recipe} == recipe


def test_item_and_attribute_are_the_same_setting() -> None:
    config = Config()
    config["training"]["num_train_epochs"] = 10
    assert config.training.num_train_epochs == 10.0
    config.training.learning_rate = 2e-4
    assert config["training"]["learning_rate"] == 2e-4
    assert "learning_rate" in config.training
    assert "learning_rat" not in config.training


def test_two_configs_share_no_list() -> None:
    first = Config()
    first.model.labels.append("Other")
    assert Config().model.labels == ["AI_Generated", "Human_Written"]


def test_a_copy_can_be_changed_alone() -> None:
    first = Config()
    second = copy.deepcopy(first)
    second.training.seed = 7
    assert first.training.seed == 42


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("training", "num_train_epochs", "ten", "training.num_train_epochs   expected a number, found 'ten'"),
        ("training", "seed", True, "training.seed   expected a whole number, found true"),
        ("training", "seed", 1.0, "training.seed   expected a whole number, found 1.0"),
        ("training", "learning_rate", True, "expected a number, found true"),
        ("training", "learning_rate", float("nan"), "expected a finite number, found nan"),
        ("training", "learning_rate", 0, "expected more than 0.0, found 0"),
        ("training", "eval_steps", 0, "expected at least 1, found 0"),
        ("training", "bf16", 1, "expected true or false, found 1"),
        ("model", "revision", 1234567, "expected text, found 1234567; put it in quotes"),
        ("model", "text_column", "", "expected text that is not empty, found ''"),
        ("model", "text_column", "a\0b", "NUL"),
        ("model", "text_column", "\ud800", "expected text of whole characters"),
        ("model", "labels", ["AI", 0], "model.labels   item 2: expected text, found 0; put it in quotes"),
        ("dataset", "split_ratios", [0.9, 0.1], "expected at least 3 of them, found 2"),
        ("quantization", "bnb_4bit_quant_type", "nf5", "expected nf4 or fp4, found 'nf5'"),
        ("peft", "init_lora_weights", "pissa", "expected true, false or gaussian, found 'pissa'"),
        ("model", "tiny", {"hidden_size": "wide"}, "model.tiny.hidden_size   expected a whole number"),
    ],
)
def test_an_assignment_is_checked(section: str, key: str, value: object, expected: str) -> None:
    config = Config()
    before = flatten_config(config)
    with pytest.raises(ConfigError) as caught:
        config[section][key] = value
    assert expected in str(caught.value)
    assert flatten_config(config) == before


def test_an_int_is_a_float_and_a_float_stays_one() -> None:
    config = Config()
    config.training.weight_decay = 0
    assert isinstance(config.training.weight_decay, float)


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "datasets", "evaluations", "a\nb", "a:b"])
def test_a_run_name_is_the_name_of_a_folder(name: str) -> None:
    config = Config()
    with pytest.raises(ConfigError, match=r"training\.run_name"):
        config.training.run_name = name
    config.training.run_name = "qwen3-0.6b 10k, second try"


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    config = Config()
    with pytest.raises(
        ConfigError, match=r"training\.learnig_rate +unknown setting; did you mean learning_rate\?"
    ):
        config["training"]["learnig_rate"] = 1
    with pytest.raises(ConfigError, match="did you mean learning_rate"):
        config["training"]["learnig_rate"]
    with pytest.raises(ConfigError, match="did you mean training"):
        config.trainig = {}  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"model\.tiny\.hiden_size .* hidden_size"):
        config.model.tiny["hiden_size"] = 8


@pytest.mark.parametrize(
    ("switches", "method"),
    [
        ({}, "nf4"),
        ({"bnb_4bit_quant_type": "fp4"}, "fp4"),
        ({"load_in_4bit": False, "load_in_8bit": True}, "int8"),
        ({"enabled": False}, "none"),
    ],
)
def test_quantization_method_names_what_the_switches_mean(switches: dict[str, object], method: str) -> None:
    config = Config()
    for key, value in switches.items():
        config.quantization[key] = value
    assert config.quantization.method == method


def test_every_setting_has_a_help_text() -> None:
    assert [row.name for row in config_reference() if len(row.help) < 15] == []
    assert {row.name for row in config_reference()} == set(setting_names())


def test_every_section_knows_its_name() -> None:
    def check(section: Section, name: str) -> None:
        assert section.section_name == name
        for key in type(section).model_fields:
            if isinstance(section[key], Section):
                check(section[key], f"{name}.{key}".lstrip("."))

    check(Config(), "")


def test_runtime_only_settings_are_those_that_change_no_result() -> None:
    runtime_only = runtime_only_settings()
    assert {
        "paths.root",
        "training.run_name",
        "training.dataloader_num_workers",
        "wandb.enabled",
    } <= runtime_only
    assert runtime_only.isdisjoint({"training.seed", "model.name", "peft.lora_r", "model.tiny.hidden_size"})

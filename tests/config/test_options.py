"""--set and the named options: the same rules as in the file, and errors that name the option."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qwenkit.config import ConfigError, load_config

Write = Callable[[str], Path]


def refuse(*overrides: str, **named: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides=overrides, named=named)
    return str(caught.value)


def test_set_reads_values_as_the_file_does() -> None:
    overrides = [
        "training.learning_rate=2e-4",
        "training.bf16=false",
        "wandb.enabled=no",
        "model.labels=[AI, 'Human']",
        "training.run_name='2024'",
        "dataset.name=data/a=b.csv",
        " training.seed = 7",
        "model.tiny.hidden_size=64",
        "wandb.notes=",
    ]
    config = load_config(None, overrides=overrides).config
    assert config.training.learning_rate == 2e-4
    assert config.training.bf16 is False
    assert config.wandb.enabled is False
    assert config.model.labels == ["AI", "Human"]
    assert config.training.run_name == "2024"
    assert config.dataset.name == "data/a=b.csv"
    assert config.training.seed == 7
    assert config.model.tiny.hidden_size == 64
    assert config.wandb.notes is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.seed", "expected section.key=value, found 'training.seed'"),
        ("=5", "expected section.key=value, found '=5'"),
        ("training.seed=x", "training.seed   expected a whole number, found 'x'"),
        ("training.sed=1", "training.sed   unknown setting; did you mean seed?"),
        ("training.seed=[", "training.seed   not YAML"),
        ("training.seed=.nan", "training.seed   expected a finite number"),
        ("training={seed: 1}", "training   is a section"),
        ("training.seed=&a 1", "anchors and aliases"),
        ("training.hub_token=hf_secret", "training.hub_token   refused"),
        ("training.fp16=true", "training.fp16   true is not offered"),
    ],
)
def test_a_wrong_set_names_the_option(override: str, expected: str) -> None:
    message = refuse(override)
    assert message.startswith("the config has 1 problem:\n  --set  ")
    assert expected in message
    assert "hf_secret" not in message


def test_problems_of_file_and_options_come_together(write: Write) -> None:
    path = write("training:\n  seed: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides=["a=1"], named={"epochs": 0, "quantization": "q4"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "my.yaml has 4 problems:"
    assert [line.split()[0] for line in lines[1:]].count("line") == 1
    assert any(line.startswith("  --epochs        training.num_train_epochs") for line in lines)
    assert any("--quantization  quantization" in line and "nf4, fp4, int8, none" in line for line in lines)


def test_named_options_reach_their_settings() -> None:
    named = {
        "dataset": "10k",
        "root": Path("out"),
        "epochs": 5,
        "max_steps": 3,
        "batch_size": 16,
        "learning_rate": 2e-4,
        "quantization": "int8",
        "run_name": "mine",
        "resume": "auto",
        "wandb": False,
        "export.formats": ("adapter",),
        "evaluation.batch_tokens": 4096,
    }
    config = load_config(None, named=named).config
    assert (config.dataset.name, config.paths.root) == ("10k", "out")
    assert (config.training.num_train_epochs, config.training.max_steps) == (5.0, 3)
    assert config.training.per_device_train_batch_size == 16
    assert config.training.per_device_eval_batch_size == 16
    assert (config.training.learning_rate, config.quantization.method) == (2e-4, "int8")
    assert (config.training.run_name, config.training.resume_from_checkpoint) == ("mine", "auto")
    assert (config.wandb.enabled, config.export.formats) == (False, ["adapter"])
    assert config.evaluation.batch_tokens == 4096


@pytest.mark.parametrize("method", ["nf4", "fp4", "int8", "none"])
def test_quantization_option_gives_its_method_whatever_was_set(write: Write, method: str) -> None:
    path = write("quantization: {enabled: false, load_in_4bit: false, load_in_8bit: true}\n")
    assert load_config(path, named={"quantization": method}).config.quantization.method == method


def test_epochs_are_not_ended_early_by_a_number_of_steps_from_elsewhere(write: Write) -> None:
    path = write("training: {max_steps: 40}\n")
    loaded = load_config(path, named={"epochs": 2})
    assert (loaded.config.training.num_train_epochs, loaded.config.training.max_steps) == (2.0, -1)
    assert any("max_steps 40" in note and "gives way to --epochs" in note for note in loaded.notes)
    assert load_config(path).config.training.max_steps == 40
    assert load_config(path, named={"epochs": 2, "max_steps": 7}).config.training.max_steps == 7


def test_rank_takes_alpha_along() -> None:
    config = load_config(None, named={"lora_rank": 64}).config
    assert (config.peft.lora_r, config.peft.lora_alpha) == (64, 128)


def test_rank_takes_alpha_along_with_a_shipped_config() -> None:
    # default.yaml holds every setting, so its alpha is nobody's choice.
    assert load_config("default", named={"lora_rank": 64}).config.peft.lora_alpha == 128


def test_an_alpha_that_was_written_stays_and_is_mentioned(write: Write) -> None:
    loaded = load_config(write("peft:\n  lora_alpha: 16\n"), named={"lora_rank": 64})
    assert loaded.config.peft.lora_alpha == 16
    assert loaded.notes == ("peft.lora_alpha stays 16 (line 2); twice the rank would be 128",)
    by_set = load_config("default", overrides=["peft.lora_alpha=8"], named={"lora_rank": 4})
    assert by_set.config.peft.lora_alpha == 8
    assert by_set.notes == ()


def test_an_option_nobody_knows_is_an_unknown_setting() -> None:
    assert "unknown setting" in refuse(learnign_rate=3)


def test_no_rehearsal_is_the_setting_of_that_name() -> None:
    assert load_config(None).config.training.rehearsal == "auto"
    loaded = load_config(None, named={"rehearsal": False, "wandb": False})
    assert loaded.config.training.rehearsal is False
    assert {loaded.given[name].origin.label for name in ("training.rehearsal", "wandb.enabled")} == {
        "--no-rehearsal",
        "--no-wandb",
    }
    assert load_config(None, named={"rehearsal": None}).config.training.rehearsal == "auto"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.micro_batch_tokens=lots", "expected a whole number or auto, found 'lots'"),
        ("training.micro_batch_tokens=0", "expected at least 1 or auto, found 0"),
        ("training.rehearsal=1", "expected true or false or auto, found 1"),
        ("model.label_mapping={0: [1]}", "expected text, found [1]"),
    ],
)
def test_a_setting_of_several_kinds_says_in_one_line_what_it_takes(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(overrides=[setting])
    name = setting.partition("=")[0]
    assert str(refused.value).splitlines()[1:] == [f"  --set  {name}   {message}"]

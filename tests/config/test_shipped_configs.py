"""Each YAML in configs/ loads without a word and equals its claims."""

from pathlib import Path

import pytest

from qwenkit.changes import explain_changes
from qwenkit.config import (
    Config,
    ConfigError,
    config_to_yaml,
    find_shipped_config,
    flatten_config,
    load_config,
    shipped_configs,
)


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_config_loads_without_notes(name: str) -> None:
    loaded = load_config(name)
    assert loaded.notes == ()
    assert loaded.source == f"{name}.yaml"


def test_all_files_of_the_folder_are_found() -> None:
    folder = Path(__file__).parents[2] / "configs"
    assert set(shipped_configs()) == {path.stem for path in folder.iterdir() if path.is_file()}
    assert {"default", "demo", "fast"} <= set(shipped_configs())


def test_default_is_the_schema_with_its_help_texts() -> None:
    path = find_shipped_config("default")
    # It is written by config_to_yaml: after a change of the schema write it again.
    assert path.read_text(encoding="utf-8") == config_to_yaml(Config(), comments=True)
    assert set(load_config("default").given) == set(flatten_config(Config()))


def test_fast_differs_in_what_it_claims_and_nothing_else() -> None:
    assert explain_changes(flatten_config(Config()), flatten_config(load_config("fast").config)) == [
        "lora_dropout: 0.05 -> 0.0",
        "quantization.enabled: true -> false",
        "compile: false -> true",
        "eval_samples: null -> 5000",
        "micro_batch_tokens: null -> auto",
    ]
    assert load_config("fast").config.training.gradient_checkpointing is False


def test_demo_is_small_and_offline_but_keeps_the_whole_recipe() -> None:
    config = load_config("demo").config
    assert (config.dataset.name, config.model.name) == ("demo", "tiny")
    assert config.tokenization.tokenizer in ("auto", "train")
    assert config.quantization.method == "nf4"
    assert config.peft.enabled
    assert config.peft.modules_to_save == ["embed_tokens"]
    assert not config.wandb.enabled
    assert config.training.learning_rate > Config().training.learning_rate


def test_a_name_that_is_not_shipped_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match="'tiny'; shipped with qwenkit: default, demo, fast"):
        find_shipped_config("tiny")

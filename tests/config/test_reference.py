"""The config written out: YAML that loads again, the reference, the JSON schema, the difference of two."""

import json
from pathlib import Path

import pytest
import yaml

from qwenkit.config import (
    Config,
    config_json_schema,
    config_reference,
    config_to_markdown,
    config_to_yaml,
    flatten_config,
    load_config,
    setting_names,
    shipped_configs,
)
from qwenkit.config.schema_training import Training

AWKWARD = [
    "no",
    "null",
    "1e-4",
    "12",
    "2024-01-01",
    "a: b",
    "# c",
    "*d",
    "'quoted' \"twice\"",
    "back\\slash",
    "line\nbreak\tand\x85more\u2028",
    "\x07\x1b[31m\u202e\ufeff",
    "日本語 😀",
    " space ",
    "a,b]",
    "~",
    "- x",
    ".inf",
    "true",
]


@pytest.mark.parametrize("comments", [False, True])
def test_a_written_config_loads_as_the_same(tmp_path: Path, comments: bool) -> None:
    config = Config()
    config.model.labels = AWKWARD
    config.wandb.notes = "".join(AWKWARD)
    config.training.learning_rate = 1e-5
    config.training.weight_decay = 1e-300
    config.model.tiny.hidden_size = 64
    config.class_weights.manual_weights = [0.1, 1 / 3]
    path = tmp_path / "out.yaml"
    path.write_text(config_to_yaml(config, comments=comments), encoding="utf-8")
    assert flatten_config(load_config(path).config) == flatten_config(config)


@pytest.mark.parametrize("name", shipped_configs())
def test_other_yaml_readers_see_the_same_values(name: str) -> None:
    config = load_config(name).config
    config.model.labels = AWKWARD
    config.training.learning_rate = 1e-5
    assert yaml.safe_load(config_to_yaml(config)) == config.model_dump()


def test_comments_are_the_help_texts() -> None:
    text = config_to_yaml(Config(), comments=True)
    meaning = Training.model_fields["gradient_accumulation_steps"].description
    assert f"  # {meaning}\n" in text
    assert max(map(len, text.splitlines())) <= 110
    assert "#" not in config_to_yaml(Config(), comments=False)


def test_the_reference_says_type_default_and_meaning() -> None:
    rows = {row.name: row for row in config_reference()}
    assert list(rows) == setting_names()
    assert rows["training.gradient_accumulation_steps"].kind == "whole number, at least 1"
    assert rows["training.learning_rate"].kind == "number, more than 0"
    assert rows["training.eval_steps"].kind == "whole number | null, at least 1"
    assert rows["quantization.bnb_4bit_quant_type"].kind == "nf4 | fp4"
    assert rows["peft.init_lora_weights"].kind == "true | false | gaussian"
    assert rows["model.labels"].kind == "list of text"
    assert rows["class_weights.manual_weights"].kind == "list of number | null"
    assert rows["wandb.enabled"].kind == "true/false"
    assert rows["model.labels"].default == "[AI_Generated, Human_Written]"
    assert rows["training.learning_rate"].default == "0.0001"
    assert rows["training.seed"].kind == "whole number, at least 0, less than 4,294,967,296"


def test_the_json_schema_describes_every_setting() -> None:
    schema = json.loads(json.dumps(config_json_schema()))
    training = schema["$defs"]["Training"]
    assert training["additionalProperties"] is False
    assert training["properties"]["learning_rate"]["default"] == 1e-4
    assert training["properties"]["learning_rate"]["description"].startswith("Highest learning rate")
    described = sum(len(section["properties"]) for section in schema["$defs"].values())
    # model.tiny, dataset.near_duplicates and dataset.augment are properties as well as sections.
    assert described == len(setting_names()) + 3


def test_the_document_is_what_the_schema_says() -> None:
    document = Path(__file__).parents[2] / "qwenkit/docs/settings.md"
    assert document.read_text() == config_to_markdown(), "run `make docs`"
    assert all(f"| `{name}` |" in config_to_markdown() for name in setting_names())

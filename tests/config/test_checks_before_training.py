"""What the data, the model or the machine cannot give, found before the first step."""

from typing import Any

import pytest

from qwenkit.config import Config, Machine, check_before_training

LAYER = "model.layers.0"
MODULES = [
    "model.embed_tokens",
    *(f"{LAYER}.self_attn.{name}_proj" for name in "qkvo"),
    *(f"{LAYER}.mlp.{name}_proj" for name in ("gate", "up", "down")),
    "score",
]


def check(config: Config, **facts: Any) -> list[tuple[str, str]]:
    given = {
        "train_rows": 80_000,
        "model_max_length": 40_960,
        "module_names": MODULES,
        "machine": Machine("NVIDIA H100"),
    }
    problems = check_before_training(config, **(given | facts))
    return [(problem.name, problem.message) for problem in problems]


def test_the_default_recipe_fits_a_gpu_and_a_cpu() -> None:
    assert check(Config()) == []
    assert check(Config(), machine=Machine("cpu")) == []


@pytest.mark.parametrize(
    ("train_rows", "advice"),
    [
        (255, "set gradient_accumulation_steps to 7 or less"),
        (20, "set it to 20 or less, and gradient_accumulation_steps to 1"),
    ],
)
def test_a_step_larger_than_the_train_split_is_refused(train_rows: int, advice: str) -> None:
    [(name, message)] = check(Config(), train_rows=train_rows, machine=Machine("cpu"))
    assert name == "training.per_device_train_batch_size"
    assert f"more than the {train_rows} of the train split" in message
    assert advice in message


def test_a_step_as_large_as_the_train_split_is_allowed() -> None:
    assert check(Config(), train_rows=256) == []


def test_a_warm_up_that_never_ends_is_refused() -> None:
    config = Config()
    config.training.num_train_epochs = 1
    [(name, message)] = check(config, train_rows=256)
    assert name == "training.warmup_ratio"
    assert "0.05 of 1 steps is 1 of warm-up" in message


def test_evaluations_follow_the_checkpoints_where_these_alone_are_set() -> None:
    config = Config()
    config.training.save_steps = 45
    assert check(config) == []


def test_texts_longer_than_the_model_can_read_are_refused() -> None:
    assert check(Config(), model_max_length=256) == [
        ("tokenization.max_length", "384 is more than the 256 positions of the model; lower it to that")
    ]
    assert check(Config(), model_max_length=None) == []


def test_targets_that_the_model_lacks_are_named_with_those_it_has() -> None:
    config = Config()
    config.peft.target_modules = ["q_proj", "mlp.up_proj", "query_key_value", "proj"]
    config.peft.modules_to_save = ["embed_tokens", "lm_head"]
    has = "it has down_proj, embed_tokens, gate_proj, k_proj, o_proj, q_proj, score, up_proj, v_proj"
    assert check(config) == [
        ("peft.target_modules", f"the model has no query_key_value, proj; {has}"),
        ("peft.modules_to_save", f"the model has no lm_head; {has}"),
    ]
    config.peft.enabled = False
    assert check(config) == []


def test_bf16_and_quantization_need_a_machine_that_can() -> None:
    config = Config()
    config.model.dtype = "bfloat16"
    old = Machine("Tesla T4", has_bf16=False)
    assert [name for name, _ in check(config, machine=old)] == [
        "model.dtype",
        "quantization.bnb_4bit_compute_dtype",
    ]
    config.model.dtype = "auto"
    config.quantization.bnb_4bit_compute_dtype = "float16"
    assert check(config, machine=old) == []
    without = Machine("mps", has_quantization=False)
    [(name, message)] = check(config, machine=without)
    assert name == "quantization.enabled"
    assert "--quantization none" in message
    config.quantization.enabled = False
    assert check(config, machine=without) == []


@pytest.mark.parametrize(
    ("setting", "machine", "advice"),
    [
        ("liger", Machine("cpu", has_liger=True), "its kernels need a GPU, cpu is none; set this to false"),
        ("liger", Machine("NVIDIA H100", is_gpu=True), "not installed: pip install liger-kernel, or set"),
        ("compile", Machine("cpu", has_compiler=False), "a C++ compiler (apt install g++)"),
        ("compile", Machine("NVIDIA H100", is_gpu=True, has_compiler=False), "pip install triton"),
    ],
)
def test_a_switch_that_cannot_be_turned_says_what_is_missing(setting, machine, advice):
    config = Config()
    config.training[setting] = True
    [(name, message)] = check(config, machine=machine)
    assert name == f"training.{setting}"
    assert advice in message
    assert check(config, machine=Machine("NVIDIA H100", is_gpu=True, has_liger=True)) == []

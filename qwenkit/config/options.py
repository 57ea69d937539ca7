"""What a command line adds to a config: `--set section.key=value`, and options with a name of their own."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qwenkit.config.legacy import translate_legacy
from qwenkit.config.problems import ConfigProblem, Given, Origin, show_value
from qwenkit.config.yaml_reader import read_value

SET = Origin(option="--set")

NAMED_OPTIONS: dict[str, tuple[str, ...]] = {
    "dataset": ("dataset.name",),
    "root": ("paths.root",),
    "epochs": ("training.num_train_epochs",),
    "max_steps": ("training.max_steps",),
    "batch_size": ("training.per_device_train_batch_size", "training.per_device_eval_batch_size"),
    "learning_rate": ("training.learning_rate",),
    "lora_rank": ("peft.lora_r",),
    "run_name": ("training.run_name",),
    "resume": ("training.resume_from_checkpoint",),
    "wandb": ("wandb.enabled",),
    "rehearsal": ("training.rehearsal",),
}
"""Options and the settings that each one stands for; `quantization` sets several switches at once."""

_QUANTIZATION: dict[str, dict[str, bool | str]] = {
    "nf4": {"enabled": True, "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4"},
    "fp4": {"enabled": True, "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "fp4"},
    "int8": {"enabled": True, "load_in_4bit": False, "load_in_8bit": True},
    "none": {"enabled": False},
}


@dataclass(frozen=True)
class Options:
    """Settings given outside the file, what had to be said about them, and what is wrong with them."""

    given: dict[str, Given]
    notes: list[str]
    problems: list[ConfigProblem]


def read_overrides(overrides: Iterable[str], sections: Collection[str]) -> Options:
    """Read the --set options; the last one wins where a setting is given twice.

    Args:
        overrides: Each "section.key=value", the value as it would stand in the file.
        sections: Dotted names that are sections and so cannot be set as one value.
    """
    given: dict[str, Given] = {}
    problems: list[ConfigProblem] = []
    for text in overrides:
        name, equals, value_text = text.partition("=")
        name = name.strip()
        if not equals or not name:
            message = f"expected section.key=value, found {show_value(text)}"
            problems.append(ConfigProblem("", message, origin=SET))
            continue
        value, wrong = read_value(value_text, name)
        if name in sections:
            wrong = [ConfigProblem(name, "is a section: set its settings one by one, section.key=value")]
        problems += [replace(each, name=name, origin=SET) for each in wrong]
        if not wrong:
            given[name] = Given(value, SET)
    translated = translate_legacy(given)
    return Options(translated.given, translated.notes, problems + translated.problems)


def read_named_options(
    named: Mapping[str, Any], given: Mapping[str, Given], written: Collection[str]
) -> Options:
    """Turn options with a name of their own into settings; those that are None were not used.

    Args:
        named: An option (`epochs`, `batch_size`, `quantization`, ...) or a dotted name, and its value.
        given: What the file and --set give.
        written: The names among them that the user wrote: a lora_alpha there is kept whatever the rank.
    """
    options = Options({}, [], [])
    for option, value in named.items():
        if value is None:
            continue
        negative = "no-" if value is False else ""
        origin = Origin(option=f"--{negative}{option.replace('_', '-')}")
        if option == "quantization":
            _choose_quantization(options, value, origin)
        else:
            # An unknown name goes on as it is and is refused like any other unknown setting.
            for name in NAMED_OPTIONS.get(option, (option,)):
                options.given[name] = Given(_to_setting(value), origin)
    steps = given.get("training.max_steps")
    if named.get("epochs") is not None and named.get("max_steps") is None and steps is not None:
        _drop_max_steps(options, steps)
    rank = options.given.get("peft.lora_r")
    if rank is not None and "peft.lora_alpha" not in options.given and type(rank.value) is int:
        _scale_alpha(options, rank, given, written)
    return options


def _to_setting(value: Any) -> Any:
    """Take what Python code passes where a file has only text and lists: paths, tuples."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return list(value) if isinstance(value, tuple) else value


def _choose_quantization(options: Options, method: Any, origin: Origin) -> None:
    if not isinstance(method, str) or method not in _QUANTIZATION:
        message = f"expected {', '.join(_QUANTIZATION)}, found {show_value(method)}"
        options.problems.append(ConfigProblem("quantization", message, origin=origin))
        return
    for key, value in _QUANTIZATION[method].items():
        options.given[f"quantization.{key}"] = Given(value, origin)


def _drop_max_steps(options: Options, steps: Given) -> None:
    """Let --epochs have its way: a number of steps, which is stronger in training, would end them early."""
    name = "training.max_steps"
    if type(steps.value) is int and steps.value > 0:
        options.given[name] = Given(-1, options.given["training.num_train_epochs"].origin)
        options.notes.append(f"{name} {steps.value} ({steps.origin.label}) gives way to --epochs")


def _scale_alpha(options: Options, rank: Given, given: Mapping[str, Given], written: Collection[str]) -> None:
    """Keep alpha at twice the rank, unless the user chose it."""
    name = "peft.lora_alpha"
    if name not in written:
        options.given[name] = Given(2 * rank.value, rank.origin)
        return
    kept = given[name]
    if kept.value != 2 * rank.value:
        place = f"{show_value(kept.value)} ({kept.origin.label})"
        options.notes.append(f"{name} stays {place}; twice the rank would be {2 * rank.value}")

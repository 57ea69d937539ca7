"""The steps as data: what each provides and works from, so that one that is outdated is run again."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from qwenkit.stages import PREPARE, TOKENIZE, TRAIN

DATASETS = ("train_dataset", "val_dataset", "test_dataset")
TOKENIZED = ("train_tokenized", "val_tokenized", "test_tokenized")
TRAINING_STEPS = ("tokenize_datasets", "setup_model", "apply_lora", "create_trainer")

Pipeline = TypeVar("Pipeline", bound=Any)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Step:
    """One method of the pipeline.

    Attributes:
        provides: Attributes that are there once it is done, whoever put them there.
        settings: Patterns of the settings that it reads; when one changes, its result is outdated.
        objects: Attributes that it works from; when one is replaced, likewise.
    """

    provides: tuple[str, ...]
    settings: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()

    def describe_basis(self, settings: Mapping[str, Any], attributes: Callable[[str], Any]) -> dict[str, Any]:
        """Collect what the step would work from now, by name."""
        # Copies: a list that is changed in place must not change here too.
        read = {
            name: deepcopy(value)
            for name, value in settings.items()
            if any(fnmatchcase(name, pattern) for pattern in self.settings)
        }
        return {**read, **{name: attributes(name) for name in self.objects}}


STEPS: Mapping[str, Step] = {
    "load_config": Step(("config",)),
    "load_datasets": Step(DATASETS, settings=(*PREPARE.settings, *PREPARE.resolved)),
    "create_label_mappings": Step(
        ("labels", "label2id", "id2label"), settings=PREPARE.settings, objects=(*DATASETS, "labels")
    ),
    "setup_tokenizer": Step(
        ("tokenizer",), settings=("tokenization.*", "model.name", "model.revision"), objects=("_prepared",)
    ),
    "tokenize_datasets": Step(TOKENIZED, settings=TOKENIZE.settings, objects=("_prepared", "tokenizer")),
    "setup_model": Step(
        ("adopted_model",),
        settings=("model.name", "model.revision", "model.dtype", "model.tiny.*", "quantization.*"),
        objects=("tokenizer", "labels"),
    ),
    "apply_lora": Step(("adapted_model",), settings=("peft.*", "training.gradient_checkpointing")),
    "create_trainer": Step(
        ("trainer",), settings=TRAIN.settings, objects=(*TOKENIZED, "adapted_model", "class_weights")
    ),
    "train": Step(("trained_folder",)),
}
"""In the order in which they are needed."""


def after(
    required: str,
) -> Callable[
    [Callable[Concatenate[Pipeline, Arguments], Result]], Callable[Concatenate[Pipeline, Arguments], Result]
]:
    """Make a method of the pipeline first run what it lacks, up to the required step."""

    def decorate(
        method: Callable[Concatenate[Pipeline, Arguments], Result],
    ) -> Callable[Concatenate[Pipeline, Arguments], Result]:
        @wraps(method)
        def run_step(self: Pipeline, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            self._books.require(required)
            result = method(self, *args, **kwargs)
            self._books.note_basis(method.__name__)
            return result

        return run_step

    return decorate

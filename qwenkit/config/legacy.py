"""Config files of the scripts that this project grew out of: what their keys have become.

A renamed key is moved and a key without a use is dropped, with one line each. A key whose value asks for
something that is not done here is a problem: what a user wrote down must not silently mean nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwenkit.config.problems import ConfigProblem, Given, show_value
from qwenkit.config.section import read_bool_word

SECTIONS = ("sample_weighting", "data_collator", "hardware", "performance", "misc")

RENAMED = {
    "dataset.dataset_name": "dataset.name",
    "dataset.max_eval_samples": "dataset.max_validation_samples",
    "data_collator.pad_to_multiple_of": "tokenization.pad_to_multiple_of",
    "training.output_dir": "paths.root",
    "misc.resume_from_checkpoint": "training.resume_from_checkpoint",
}

REFUSED = {
    "trust_remote_code": "code from a repository is never run here; set it to false or take the line out",
    "hub_token": "a config is no place for a secret: take the line out, and set HF_TOKEN or run "
    "`hf auth login`; revoke the token if this file was ever shared",
    "add_prefix_space": "it puts a space before every piece of text, so that the model sees other tokens "
    "than it was trained on; set it to false or take the line out",
}
"""Refused in whatever section they stand, unless they say no."""


@dataclass(frozen=True)
class Dropped:
    """A key without a use here.

    Attributes:
        reason: Why it has none.
        harmless: Values that ask for nothing that is missing, besides null; None when every value is so.
        advice: What to do about any other value.
    """

    reason: str
    harmless: tuple[Any, ...] | None = None
    advice: str = ""


_KEPT_ANYWAY = Dropped("every stage keeps its output and reuses what is up to date; --force makes it again")
_TOLD_BY_STEPS = Dropped(
    "it always goes by steps", ("steps",), "leave it out; the steps are eval_steps and save_steps"
)
_NEVER_PUSHED = Dropped("nothing is uploaded", (False,), "export, then run `hf upload`")

DROPPED = {
    "tokenization.padding": Dropped(
        "each micro-batch is padded to its longest text, which gives the same logits"
    ),
    "peft.task_type": Dropped("it is always SEQ_CLS", ("SEQ_CLS",), "this project trains classifiers only"),
    "training.eval_strategy": _TOLD_BY_STEPS,
    "training.save_strategy": _TOLD_BY_STEPS,
    "training.logging_dir": Dropped("logs stand in the folder of the run"),
    "training.fp16": Dropped(
        "training computes in bf16 or float32", (False,), "set it to false and see bf16"
    ),
    "training.dataloader_prefetch_factor": Dropped("the loader's own default is used"),
    "training.dataloader_drop_last": Dropped("every row is used", (False,), "set it to false"),
    "training.group_by_length": Dropped("the texts of a step are sorted by length in any case"),
    "training.remove_unused_columns": Dropped("only the needed columns reach the model in any case"),
    "training.push_to_hub": _NEVER_PUSHED,
    "training.hub_model_id": Dropped("nothing is uploaded; export, then run `hf upload`"),
    "sample_weighting.enabled": Dropped("the loss is weighted by class only", (False,), "see class_weights"),
    "sample_weighting.weight_column": Dropped("the loss is weighted by class only"),
    "data_collator.type": Dropped("there is one collator"),
    "data_collator.padding": Dropped(
        "each micro-batch is padded to its longest text, which gives the same logits"
    ),
    "evaluation.compute_metrics": Dropped("all metrics are always computed"),
    "evaluation.predictions_file": Dropped("predictions stand beside the metrics, as .parquet and .csv"),
    "hardware.device_map": Dropped(
        "the GPU is used where there is one",
        ("auto", "cuda", "cuda:0", {"": 0}),
        "choose GPUs with CUDA_VISIBLE_DEVICES",
    ),
    "hardware.max_memory": Dropped("the model stands on one GPU whole", (), "take the line out"),
    "hardware.offload_folder": Dropped("nothing is offloaded"),
    "performance.use_flash_attention_2": Dropped("PyTorch picks the fastest attention kernel"),
    "performance.use_tf32": Dropped(
        "products run in bf16 where the hardware can; else there is training.tf32"
    ),
    "misc.cache_dir": Dropped("the libraries' own cache is used; move it with HF_HOME"),
    "misc.use_fast_tokenizer": Dropped("the fast tokenizer is the only one"),
    "misc.save_tokenized_datasets": _KEPT_ANYWAY,
    "misc.tokenized_cache_dir": _KEPT_ANYWAY,
    "misc.force_retokenize": _KEPT_ANYWAY,
    "misc.save_sampled_datasets": _KEPT_ANYWAY,
    "misc.sampled_cache_dir": _KEPT_ANYWAY,
    "misc.force_resample": _KEPT_ANYWAY,
    "wandb.watch": Dropped("gradients are not sent, only their norm", (False, "false"), "set it to false"),
}


@dataclass
class Translated:
    """What became of the settings of one source.

    Attributes:
        notes: One line for each key that was moved or dropped.
    """

    given: dict[str, Given]
    notes: list[str]
    problems: list[ConfigProblem]

    def note(self, name: str, given: Given, what: str) -> None:
        self.notes.append(f"{name} ({given.origin.label}) {what}")

    def refuse(self, name: str, given: Given, message: str) -> None:
        self.problems.append(ConfigProblem(name, message, origin=given.origin))

    def move(self, name: str, given: Given, new_name: str) -> None:
        if new_name in self.given:
            self.refuse(name, given, f"is {new_name} now, which is given too; keep one of them")
            return
        self.given[new_name] = given
        self.note(name, given, f"is now {new_name}")


_QUICK_EVAL = (
    "evaluation.use_quick_eval",
    "evaluation.quick_eval_samples_per_domain",
    "evaluation.quick_eval_total_samples",
    "evaluation.full_eval_at_epoch_end",
)


def translate_legacy(given: Mapping[str, Given]) -> Translated:
    """Move, drop or refuse the keys of an original config; all others pass as they are."""
    special = {"training.report_to", *_QUICK_EVAL}
    handled = {
        name
        for name in given
        if name in RENAMED or name in DROPPED or name in special or _leaf(name) in REFUSED
    }
    result = Translated({name: each for name, each in given.items() if name not in handled}, [], [])
    words_read = {name: Given(read_bool_word(given[name].value), given[name].origin) for name in handled}
    for name, each in given.items():
        if name in RENAMED:
            result.move(name, each, RENAMED[name])
        elif name in DROPPED:
            _drop(result, name, words_read[name], DROPPED[name])
        elif _leaf(name) in REFUSED:
            _refuse_unless_off(result, name, words_read[name])
        elif name == "training.report_to":
            _translate_report_to(result, name, each)
        elif name in _QUICK_EVAL:
            _translate_quick_eval(result, name, words_read)
    return result


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _drop(result: Translated, name: str, given: Given, rule: Dropped) -> None:
    # Compared with their types: 0 equals False, but nobody wrote False.
    harmless = rule.harmless is None or given.value is None
    if harmless or any(
        given.value == each and type(given.value) is type(each) for each in rule.harmless or ()
    ):
        result.note(name, given, f"is dropped: {rule.reason}")
    else:
        result.refuse(name, given, f"{show_value(given.value)} is not offered, {rule.reason}; {rule.advice}")


def _refuse_unless_off(result: Translated, name: str, given: Given) -> None:
    key = _leaf(name)
    # The value is never shown: a token would go on into logs.
    if given.value is None or (given.value is False and key != "hub_token"):
        result.note(name, given, "is dropped: it is never done here")
    else:
        result.refuse(name, given, f"refused: {REFUSED[key]}")


def _translate_report_to(result: Translated, name: str, given: Given) -> None:
    trackers = [each for each in _as_list(given.value) if each not in (None, "none")]
    if any(each not in ("wandb", "all") for each in trackers):
        message = f"{show_value(given.value)} is not offered; there is wandb, and metrics.jsonl always"
        result.refuse(name, given, message)
    elif trackers or given.value is None or "wandb.enabled" in result.given:
        result.note(name, given, "is dropped: wandb.enabled decides")
    else:
        result.given["wandb.enabled"] = Given(False, given.origin)
        result.note(name, given, "is now wandb.enabled: false")


def _translate_quick_eval(result: Translated, name: str, given: Mapping[str, Given]) -> None:
    """Quick evaluation of a subset has become training.eval_samples, one number for the whole."""
    quick, _, total, full = (given.get(each, Given(None)) for each in _QUICK_EVAL)
    each, is_quick = given[name], quick.value is True
    if each is total and is_quick and total.value is not None:
        result.move(name, each, "training.eval_samples")
    elif each is full and is_quick and full.value is True:
        result.refuse(name, each, "is not offered together with use_quick_eval; set one of them to false")
    elif each is quick and is_quick and total.value is None and "training.eval_samples" not in result.given:
        message = "wants a size: set training.eval_samples to a number of validation rows instead"
        result.refuse(name, each, message)
    elif each is quick and not isinstance(quick.value, bool | None):
        result.refuse(name, each, f"expected true or false, found {show_value(quick.value)}")
    else:
        result.note(name, each, "is dropped: training.eval_samples says how many validation rows are used")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

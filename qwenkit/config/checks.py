"""What no single setting shows: settings that contradict each other.

Each check is a pure function that gives problems with advice. Those here need the config alone and run when
it is loaded; checks_before_training.py holds those that need facts from outside.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator

from qwenkit.config.problems import ConfigProblem, describe_unknown, list_names, show_name
from qwenkit.config.schema import Config

# What an evaluation measures; which way a user's own metric goes, only they know.
LOWER_IS_BETTER = ("loss", "log_loss", "brier", "ece")
HIGHER_IS_BETTER = (
    *("accuracy", "balanced_accuracy", "mcc", "auroc", "average_precision", "partial_auroc_fpr_5"),
    *("precision", "recall", "f1", "precision_macro", "recall_macro", "f1_macro"),
    *("tpr_at_fpr_5", "tpr_at_fpr_1"),
)


def check_config(config: Config) -> list[ConfigProblem]:
    """Find the settings that contradict each other."""
    return [problem for check in _CHECKS for problem in check(config)]


def check_names(
    config: Config, *, rules: Collection[str], attacks: Collection[str], formats: Collection[str]
) -> list[ConfigProblem]:
    """Find names that no list has.

    Args:
        rules: Of normalisation.
        attacks: On the texts.
        formats: Of exports.
    """
    wanted = {
        "dataset.normalize": (config.dataset.normalize, rules),
        "dataset.augment.attacks": (config.dataset.augment.attacks, attacks),
        "export.formats": (config.export.formats, formats),
    }
    return [
        ConfigProblem(setting, describe_unknown(name, known))
        for setting, (names, known) in wanted.items()
        for name in names
        if name not in known
    ]


def check_metric(config: Config, *, metrics: Collection[str]) -> list[ConfigProblem]:
    """Find a metric that does not exist, before hours of training went by.

    Args:
        metrics: Names of the numbers that an evaluation gives, without the prefix "eval_".
    """
    metric = config.training.metric_for_best_model.removeprefix("eval_")
    if metric in metrics:
        return []
    return [ConfigProblem("training.metric_for_best_model", describe_unknown(metric, metrics))]


def _check_labels(config: Config) -> Iterator[ConfigProblem]:
    labels = config.model.labels
    twice = sorted(name for name, count in Counter(labels).items() if count > 1)
    if twice:
        yield ConfigProblem("model.labels", f"{list_names(twice)} stands there more than once")
    if len(labels) < 2:
        yield ConfigProblem("model.labels", f"expected at least two classes, found {len(labels)}")
    if config.model.num_labels not in (None, len(labels)):
        message = f"{config.model.num_labels} does not agree with the {len(labels)} labels; leave it out"
        yield ConfigProblem("model.num_labels", message, ("model.labels",))
    positive = config.evaluation.positive_label
    if positive is not None and positive not in labels:
        message = f"{show_name(positive)} is not one of model.labels: {list_names(labels)}"
        yield ConfigProblem("evaluation.positive_label", message, ("model.labels",))
    if config.model.text_column == config.model.label_column:
        message = f"is the same column as text_column ({show_name(config.model.text_column)})"
        yield ConfigProblem("model.label_column", message, ("model.text_column",))


def _check_label_mapping(config: Config) -> Iterator[ConfigProblem]:
    labels, mapping = config.model.labels, config.model.label_mapping
    unknown = sorted({name for name in mapping.values() if name is not None and name not in labels})
    if unknown:
        message = f"{list_names(unknown)} is not one of model.labels: {list_names(labels)}"
        yield ConfigProblem("model.label_mapping", message, ("model.labels",))
    lacking = [name for name in labels if name not in mapping.values()]
    if mapping and lacking:
        message = f"no value stands for {list_names(lacking)}, so no row could have that class"
        yield ConfigProblem("model.label_mapping", message, ("model.labels",))


def _check_splits(config: Config) -> Iterator[ConfigProblem]:
    dataset = config.dataset
    ratios = dataset.split_ratios
    # Ratios are written with a few digits; thirds may be off by the last one.
    if min(ratios) <= 0 or abs(sum(ratios) - 1) > 1e-3:
        message = f"expected three positive shares that add up to 1, found {ratios} (sum {sum(ratios):g})"
        yield ConfigProblem("dataset.split_ratios", message)
    splits = [dataset.train_split, dataset.validation_split, dataset.test_split]
    if len(set(splits)) < 3:
        names = ("dataset.train_split", "dataset.validation_split")
        yield ConfigProblem(
            "dataset.test_split", f"the three splits must differ, found {list_names(splits)}", names
        )


def _check_source(config: Config) -> Iterator[ConfigProblem]:
    dataset = config.dataset
    if dataset.path is not None and dataset.name != "raid":
        named = show_name(dataset.name) if dataset.name else "no data set"
        message = (
            f"is the file of dataset.name: raid, and {named} is named; any other file is the name itself"
        )
        yield ConfigProblem("dataset.path", message, ("dataset.name",))
    if dataset.streaming and dataset.max_rows is None:
        message = "wants dataset.max_rows: without an end all rows are read, as they are when this is false"
        yield ConfigProblem("dataset.streaming", message, ("dataset.max_rows",))


def _check_augment(config: Config) -> Iterator[ConfigProblem]:
    augment = config.dataset.augment
    also = ("dataset.augment.attacks",)
    if "paraphrase" in augment.attacks and augment.paraphraser is None:
        message = "paraphrase wants a model: the folder of a downloaded text-to-text or causal one"
        yield ConfigProblem("dataset.augment.paraphraser", message, also)
    if "{text}" not in augment.paraphrase_prompt:
        message = "must hold {text}, the place of the text"
        yield ConfigProblem("dataset.augment.paraphrase_prompt", message, also)


def _check_class_weights(config: Config) -> Iterator[ConfigProblem]:
    weights, labels = config.class_weights.manual_weights, config.model.labels
    name, also = (
        "class_weights.manual_weights",
        ("class_weights.method", "class_weights.enabled", "model.labels"),
    )
    if not config.class_weights.enabled or config.class_weights.method != "manual":
        return
    if weights is None:
        yield ConfigProblem(
            name, "method: manual needs one weight a class here, in the order of model.labels", also
        )
    elif len(weights) != len(labels):
        yield ConfigProblem(
            name, f"{len(weights)} weights for {len(labels)} labels ({list_names(labels)})", also
        )


def _check_quantization(config: Config) -> Iterator[ConfigProblem]:
    quantization = config.quantization
    if not quantization.enabled:
        return
    also = ("quantization.load_in_4bit", "quantization.enabled")
    if quantization.load_in_4bit and quantization.load_in_8bit:
        message = "load_in_4bit is true as well; set one of them to false"
        yield ConfigProblem("quantization.load_in_8bit", message, also)
    if not quantization.load_in_4bit and not quantization.load_in_8bit:
        message = "set load_in_4bit or load_in_8bit to true, or this to false"
        yield ConfigProblem("quantization.enabled", message, (*also, "quantization.load_in_8bit"))
    if not config.peft.enabled:
        message = "quantized weights cannot be trained themselves: set this to false, or peft.enabled to true"
        yield ConfigProblem("quantization.enabled", message, ("peft.enabled",))


def _check_adapter(config: Config) -> Iterator[ConfigProblem]:
    if config.peft.enabled and not config.peft.target_modules:
        message = (
            "is empty, so the adapter would have no weights; set peft.enabled: false for full fine-tuning"
        )
        yield ConfigProblem("peft.target_modules", message, ("peft.enabled",))
    if not config.peft.enabled and "adapter" in config.export.formats:
        message = "without peft there is no adapter to export; take merged"
        yield ConfigProblem("export.formats", message, ("peft.enabled",))


def _check_model(config: Config) -> Iterator[ConfigProblem]:
    tiny = config.model.tiny
    if tiny.num_attention_heads % tiny.num_key_value_heads:
        message = (
            f"{tiny.num_key_value_heads} does not divide num_attention_heads ({tiny.num_attention_heads})"
        )
        yield ConfigProblem("model.tiny.num_key_value_heads", message, ("model.tiny.num_attention_heads",))
    if config.model.name == "tiny" and config.export.merge_base == "original":
        message = "the tiny model has no published weights to merge into; take dequantized"
        yield ConfigProblem("export.merge_base", message, ("model.name",))


def _check_steps(config: Config) -> Iterator[ConfigProblem]:
    training = config.training
    if training.max_steps == 0:
        yield ConfigProblem("training.max_steps", "0 steps train nothing; -1 goes by num_train_epochs")
    if training.max_steps > 0:
        yield from check_warmup(config, training.max_steps)
    if training.load_best_model_at_end and training.save_steps and training.eval_steps:
        yield from _check_save_steps(training.eval_steps, training.save_steps)


def check_warmup(config: Config, total_steps: int) -> Iterator[ConfigProblem]:
    """Find a warm-up that lasts to the end, which it does when there is a single step."""
    ratio = config.training.warmup_ratio
    warmup_steps = math.ceil(ratio * total_steps)
    if warmup_steps >= total_steps:
        message = (
            f"{ratio:g} of {total_steps} steps is {warmup_steps} of warm-up, so the learning rate never "
            "gets up; lower it or train longer"
        )
        also = ("training.max_steps", "training.num_train_epochs")
        yield ConfigProblem("training.warmup_ratio", message, also)


def _check_save_steps(eval_steps: int, save_steps: int) -> Iterator[ConfigProblem]:
    """Find checkpoints without a score of their own."""
    if save_steps % eval_steps:
        message = (
            f"{save_steps} is not a multiple of eval_steps ({eval_steps}), "
            "so the best checkpoint could not be kept"
        )
        also = ("training.eval_steps", "training.load_best_model_at_end")
        yield ConfigProblem("training.save_steps", message, also)


def _check_best_model(config: Config) -> Iterator[ConfigProblem]:
    training = config.training
    if config.early_stopping.enabled and not training.load_best_model_at_end:
        message = "wants training.load_best_model_at_end: true, or the worse last weights would be kept"
        yield ConfigProblem("early_stopping.enabled", message, ("training.load_best_model_at_end",))
    metric = training.metric_for_best_model
    others = LOWER_IS_BETTER if training.greater_is_better else HIGHER_IS_BETTER
    if metric.removeprefix("eval_") in others and training.load_best_model_at_end:
        better, value = ("lower", "false") if training.greater_is_better else ("higher", "true")
        message = f"{show_name(metric)} is better when it is {better}; set this to {value}"
        yield ConfigProblem("training.greater_is_better", message, ("training.metric_for_best_model",))


def _check_loss(config: Config) -> Iterator[ConfigProblem]:
    training = config.training
    if training.label_smoothing and training.focal_gamma:
        message = (
            "focal loss pushes sure documents out, label smoothing brings them back; set one of them to 0"
        )
        yield ConfigProblem("training.focal_gamma", message, ("training.label_smoothing",))


def _check_token_budgets(config: Config) -> Iterator[ConfigProblem]:
    longest = config.tokenization.max_length
    budgets = {
        "training.micro_batch_tokens": config.training.micro_batch_tokens,
        "evaluation.batch_tokens": config.evaluation.batch_tokens,
    }
    for name, tokens in budgets.items():
        if isinstance(tokens, int) and tokens < longest:
            message = f"{tokens} tokens do not hold one document of max_length ({longest})"
            yield ConfigProblem(name, message, ("tokenization.max_length",))


_CHECKS: tuple[Callable[[Config], Iterator[ConfigProblem]], ...] = (
    _check_labels,
    _check_label_mapping,
    _check_splits,
    _check_source,
    _check_augment,
    _check_class_weights,
    _check_quantization,
    _check_adapter,
    _check_model,
    _check_steps,
    _check_best_model,
    _check_loss,
    _check_token_budgets,
)

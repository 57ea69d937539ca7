"""Settings held against what only code, data, model and machine know, before hours go by."""

from typing import Any

import numpy as np

from qwenkit.config import Config, check_metric
from qwenkit.config.checks_before_training import (
    check_before_sharding,
    check_before_training,
    check_machine,
)
from qwenkit.config.problems import ConfigProblem, list_names
from qwenkit.export.formats import FORMATS, describe_missing
from qwenkit.metrics import compute_metrics, flatten_metrics
from qwenkit.modeling.device import describe_machine, list_layers
from qwenkit.steps.known_names import check_known_names
from qwenkit.training.launcher import wants_sharding


def check_open_names(config: Config, *, own_metrics: bool) -> list[ConfigProblem]:
    """Find names that do not exist, and export formats whose packages are not installed.

    Args:
        own_metrics: The user computes metrics of their own, whose names are not known here.
    """
    n_classes = len(config.model.labels)
    metrics = _name_metrics(np.arange(n_classes), n_classes)
    if own_metrics:
        metrics.add(config.training.metric_for_best_model.removeprefix("eval_"))
    problems = [*check_known_names(config), *check_metric(config, metrics=metrics)]
    for name in config.export.formats:
        if name in FORMATS and (missing := describe_missing(name)):
            problems.append(ConfigProblem("export.formats", f"{name} {missing}"))
    return problems


def check_metric_on_rows(config: Config, label_ids: np.ndarray) -> list[ConfigProblem]:
    """Find a metric that the validation rows do not give: no ranking can be measured without a class.

    Args:
        label_ids: Of all validation rows, shape (rows,).
    """
    from qwenkit.training.validation import choose_stratified_rows

    training, n_classes = config.training, len(config.model.labels)
    if training.eval_samples is not None:
        rows = choose_stratified_rows(label_ids, size=training.eval_samples, seed=training.seed)
        label_ids = label_ids[rows]
    metric = training.metric_for_best_model.removeprefix("eval_")
    lacking = _name_metrics(np.arange(n_classes), n_classes) - _name_metrics(label_ids, n_classes)
    if metric not in lacking:
        return []
    absent = [name for class_id, name in enumerate(config.model.labels) if class_id not in label_ids]
    message = (
        f"{metric} cannot be measured: the {len(label_ids)} validation rows used while training hold none of "
        f"{list_names(absent)}; take balanced_accuracy, or more rows"
    )
    return [ConfigProblem("training.metric_for_best_model", message, ("training.eval_samples",))]


def _name_metrics(label_ids: np.ndarray, n_classes: int) -> set[str]:
    """Name what can be measured on rows of these classes; their number says nothing about a model."""
    labels = [str(class_id) for class_id in range(n_classes)]
    measured = compute_metrics(np.zeros((len(label_ids), n_classes)), label_ids, labels=labels)
    return set(flatten_metrics(measured, prefix="")) - {"rows"}


def check_before_data(config: Config) -> list[ConfigProblem]:
    """Find what cannot be trained here whatever the rows are, for settings that no code adds to.

    Raises:
        ConfigError: As check_launcher does.
    """
    return [
        *check_open_names(config, own_metrics=False),
        *check_machine(config, describe_machine()),
        *check_launcher(config, has_own_base=False),
    ]


def check_launcher(config: Config, *, has_own_base: bool) -> list[ConfigProblem]:
    """Find what cannot be trained as the launcher asks.

    Args:
        has_own_base: The user put a model in.

    Raises:
        ConfigError: It asks for an engine with which nothing is trained here.
    """
    if not wants_sharding():
        return []
    return check_before_sharding(config, has_own_base=has_own_base, is_gpu=describe_machine().is_gpu)


def check_reality(config: Config, *, model: Any, train_rows: int) -> list[ConfigProblem]:
    """Find what the data, the model or the machine cannot give.

    Args:
        model: The base, before anything is put on it.
    """
    return check_before_training(
        config,
        train_rows=train_rows,
        model_max_length=getattr(model.config, "max_position_embeddings", None),
        module_names=list_layers(model),
        machine=describe_machine(),
    )

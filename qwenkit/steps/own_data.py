"""What a user puts in place of what the steps make: rows, labels, weights; checked, and named by content."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from qwenkit.config import Config
from qwenkit.data.frames import frame_identity, to_frame
from qwenkit.errors import ConfigError, DataError

TOKENIZED_COLUMNS = ("row_id", "input_ids", "labels")


def identify_rows(datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Identify rows by their content; what cannot be read is never the same twice."""
    try:
        return {f"rows_{name}": frame_identity(to_frame(rows)) for name, rows in datasets.items()}
    except DataError:
        return {"rows": uuid.uuid4().hex}


def name_splits(rows: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Give rows put in as train_dataset, val_dataset and test_dataset under the names of their splits.

    Args:
        rows: Of train, validation and test, in this order; None where there are none.
    """
    settings = config.dataset
    names = (settings.train_split, settings.validation_split, settings.test_split)
    return {name: each for name, each in zip(names, rows.values(), strict=True) if each is not None}


def map_labels(labels: Sequence[str]) -> dict[str, Any]:
    """Give the label names in id order, and both maps between names and ids, under the pipeline's names."""
    return {
        "labels": list(labels),
        "label2id": {name: label_id for label_id, name in enumerate(labels)},
        "id2label": dict(enumerate(labels)),
    }


def check_label_maps(labels: Any, label2id: Any, id2label: Any, *, prepared: Sequence[str]) -> None:
    """Hold labels that were changed by hand against the rows, whose ids were given by the prepared order.

    Raises:
        ConfigError: They disagree; every score would be read with another class's name.
    """
    held = {"labels": list(labels), "label2id": dict(label2id), "id2label": dict(id2label)}
    if held != map_labels(prepared):
        raise ConfigError(
            f"the rows were labelled in the order {', '.join(prepared)}, but labels is {list(labels)}, "
            f"label2id {dict(label2id)}, id2label {dict(id2label)}: leave the maps to "
            "create_label_mappings(), and change the order in config.model.labels before it."
        )


def check_class_weights(class_weights: Any, labels: Sequence[str]) -> None:
    """Refuse weights put in by hand that the loss cannot use.

    Raises:
        ConfigError: Not one positive finite number a class.
    """
    if class_weights is None:
        return
    weights = [float(weight) for weight in class_weights]
    if len(weights) != len(labels) or not all(0 < weight < float("inf") for weight in weights):
        raise ConfigError(
            f"class_weights is {weights}: expected {len(labels)} positive numbers, one a class in the order "
            f"{', '.join(labels)}."
        )


def check_tokenized(datasets: Mapping[str, Any]) -> None:
    """Refuse tokenized rows put in by hand that lack what training and scoring read.

    Args:
        datasets: By the name of the attribute that holds them.

    Raises:
        DataError: One is not a datasets.Dataset, or lacks a column.
    """
    for name, rows in datasets.items():
        columns = getattr(rows, "column_names", None)
        if not isinstance(columns, list):
            raise DataError(f"{name} is a {type(rows).__name__}: expected a datasets.Dataset.")
        missing = [column for column in TOKENIZED_COLUMNS if column not in columns]
        if missing:
            raise DataError(f"{name} lacks {', '.join(missing)}; it has {', '.join(columns)}.")

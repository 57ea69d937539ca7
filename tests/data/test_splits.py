"""Given splits are found by their names and kept; what has no split to train on is refused."""

import polars as pl
import pytest

from qwenkit.data.frames import UNSPLIT
from qwenkit.data.splits import choose_splits
from qwenkit.errors import ConfigError, DataError

NAMES = {"train": "train", "validation": "validation", "test": "test"}
ONE = pl.DataFrame({"text": ["a"]})


def test_given_splits_are_found_by_name_or_by_a_usual_one() -> None:
    chosen, notes = choose_splits({"test": ONE, "dev": ONE, "train": ONE, "extra": ONE}, NAMES)
    assert list(chosen) == ["train", "validation", "test"]
    assert notes == [
        '"dev" is used as validation: there is no "validation"',
        "splits not used: extra (1 rows)",
    ]


def test_split_named_in_the_config_goes_before_a_usual_one() -> None:
    two = pl.concat([ONE, ONE])
    names = NAMES | {"validation": "holdout"}
    chosen, _ = choose_splits({"train": ONE, "validation": ONE, "holdout": two}, names)
    assert chosen["validation"].height == 2


def test_only_split_of_another_name_is_one_set() -> None:
    assert list(choose_splits({"full": ONE}, NAMES)[0]) == [UNSPLIT]
    assert list(choose_splits({"train": ONE}, NAMES)[0]) == ["train"]


def test_splits_without_one_to_train_on_are_refused() -> None:
    with pytest.raises(DataError, match='split "train" is not in the data; it has: test, other'):
        choose_splits({"test": ONE, "other": ONE}, NAMES)
    with pytest.raises(DataError, match='split "train" is not in the data; it has: test'):
        choose_splits({"test": ONE}, NAMES)


def test_one_split_cannot_have_two_roles() -> None:
    with pytest.raises(ConfigError, match="name one split twice"):
        choose_splits({"train": ONE, "test": ONE}, NAMES | {"validation": "test"})

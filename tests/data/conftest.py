"""What the tests of this part share: small labelled rows, and the settings they are prepared with."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from qwenkit.config.schema_model import Dataset, Model
from qwenkit.data.frames import to_raw
from qwenkit.data.prepare import prepare_splits
from qwenkit.data.prepared import PreparedData

Prepare = Callable[..., PreparedData]


@pytest.fixture
def prepare() -> Prepare:
    """Prepare rows in memory; settings are given as text_column=, labels=, split_ratios= and so on."""

    def run(data: Any, **settings: Any) -> PreparedData:
        model = {key: value for key, value in settings.items() if key in Model.model_fields}
        dataset = {key: value for key, value in settings.items() if key in Dataset.model_fields}
        # The audit has tests of its own; here it would cost more than all the rest.
        dataset = {"audit": False, **dataset}
        others = {key: value for key, value in settings.items() if key not in model | dataset}
        return prepare_splits(to_raw(data), model=Model(**model), dataset=Dataset(**dataset), **others)

    return run


@pytest.fixture
def rows() -> pl.DataFrame:
    """Two hundred rows in two domains, 60 of 100 written by a machine in each; every text is its own."""
    return pl.DataFrame(
        {
            "text": [f"text number {i}" for i in range(200)],
            "label": ["AI_Generated" if i % 5 < 3 else "Human_Written" for i in range(200)],
            "domain_name": ["news" if i < 100 else "wiki" for i in range(200)],
            "length": range(200),
        }
    )

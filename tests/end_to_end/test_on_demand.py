"""The prepared rows as datasets.Dataset: made when they are read, the user's own where one was put in."""

from typing import Any

import datasets

from qwenkit.steps.on_demand import MadeOnDemand, OnDemand


class Owner:
    rows: Any = MadeOnDemand()


def test_value_is_made_when_read_and_then_stays() -> None:
    made: list[str] = []
    owner = Owner()
    assert owner.rows is None
    owner.rows = OnDemand(lambda: made.append("once") or datasets.Dataset.from_dict({"x": [1]}))
    assert not made
    assert owner.rows is owner.rows
    assert made == ["once"]


def test_value_that_is_put_back_is_still_the_steps_own_and_another_is_not() -> None:
    owner = Owner()
    offer = OnDemand(lambda: [1, 2])
    owner.rows = offer
    owner.rows = owner.rows
    assert vars(owner)["rows"] is offer
    owner.rows = [1, 2]
    assert vars(owner)["rows"] is not offer
    assert owner.rows == [1, 2]

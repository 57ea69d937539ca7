"""Attributes whose value is made when it is first read: what nobody reads takes no memory."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


class OnDemand:
    """A value and how to make it; made once."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: list[Any] = []

    def get(self) -> Any:
        """Give the value, the same object each time."""
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    def gave(self, value: Any) -> bool:
        """Tell whether this is the object that `get` gave."""
        return any(value is made for made in self._made)


class MadeOnDemand:
    """An attribute that may hold an OnDemand: whoever reads it gets the value, and `vars` what is held."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        held = None if instance is None else vars(instance).get(self._name)
        return held.get() if isinstance(held, OnDemand) else held

    def __set__(self, instance: Any, value: Any) -> None:
        held = vars(instance).get(self._name)
        # Whoever puts back what was read has changed nothing.
        if not (isinstance(held, OnDemand) and held.gave(value)):
            vars(instance)[self._name] = value


def offer_datasets(splits: Mapping[str, Any]) -> dict[str, OnDemand]:
    """Offer the prepared splits (polars) as datasets.Dataset: each, once made, copies its text."""

    def make(split: str) -> Any:
        from qwenkit.data.prepared import to_dataset

        return to_dataset(splits[split])

    return {split: OnDemand(partial(make, split)) for split in splits}

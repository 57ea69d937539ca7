"""What differs between two sets of named values, in words for people."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any


def explain_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List what differs between two sets of named values, as `name: old -> new`.

    The section is left out where the rest says enough: there are several `seed` and one `max_length`. A hash
    tells a reader no more than that it is another one.
    """
    names = sorted({*old, *new})
    keys = Counter(name.rpartition(".")[2] for name in names)
    shown = {name: key if keys[key := name.rpartition(".")[2]] == 1 else name for name in names}
    return [
        f"{name} {_tell_hashes(old.get(name), new.get(name))}"
        if _is_hash(old.get(name)) or _is_hash(new.get(name))
        else f"{shown[name]}: {_short(old.get(name))} -> {_short(new.get(name))}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give nested values dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"(sha256:)?[0-9a-f]{64}", value) is not None


def _tell_hashes(old: Any, new: Any) -> str:
    if old is None:
        return "is new"
    return "changed" if new is not None else "is gone"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."

"""Code that a user puts in (a loss, a metric, a callback, an overridden step), named by its source."""

import hashlib
import inspect
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any

PLAIN = (str, bytes, int, float, bool, type(None))


def identify_code(value: Any) -> str:
    """Hash the source of a function, class or instance, with the plain values that it holds.

    Returns:
        64 hexadecimal digits; another name each time for what has no source or holds what cannot be read,
        so that nothing made with it counts as up to date.
    """
    try:
        return hashlib.sha256(_describe(value).encode()).hexdigest()
    except (OSError, TypeError, RecursionError):
        return uuid.uuid4().hex


def identify_training_code(
    kind: type,
    base: type,
    *,
    names: Iterable[str],
    options: Mapping[str, Any],
    callbacks: Sequence[Any],
) -> dict[str, str]:
    """Name what a user changed of the training by code: it decides the model as settings do.

    Args:
        kind, base, names: Of these methods those count that the subclass puts in place of the base's.
        options, callbacks: What is handed to the trainer.
    """
    overrides = {
        name: getattr(kind, name) for name in names if getattr(kind, name) is not getattr(base, name)
    }
    parts = {**overrides, **options, **({"callbacks": callbacks} if callbacks else {})}
    return {name: identify_code(part) for name, part in parts.items()}


def _describe(value: Any) -> str:
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(map(_describe, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_describe(each)}' for key, each in value.items())}}}"
    if isinstance(value, MethodType):
        return f"{_describe(value.__func__)} of {_describe(value.__self__)}"
    if isinstance(value, FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        return f"{inspect.getsource(value)}{_describe([value.__defaults__, value.__kwdefaults__, held])}"
    if inspect.isclass(value):
        return _describe_class(value)
    return f"{_describe_class(type(value))}{_describe(vars(value))}"


def _describe_class(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        # A class that is written in a notebook belongs to no file, but its functions have a source there.
        members = {name: each for name, each in vars(kind).items() if _is_written(name, each)}
        if not any(isinstance(each, FunctionType) for each in members.values()):
            raise
    bases = [_describe_class(base) for base in kind.__bases__ if base is not object]
    return f"class {kind.__qualname__} of {bases}: {_describe(members)}"


def _is_written(name: str, member: Any) -> bool:
    """Tell what a class body says from what Python adds to each class."""
    is_added = name.startswith("__") and not isinstance(member, FunctionType)
    return not is_added and not name.startswith("__annotate")

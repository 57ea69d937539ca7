"""The list of export formats; the command line reads it, so nothing heavy is imported here."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from qwenkit.errors import ConfigError

if TYPE_CHECKING:
    from qwenkit.export.contract import Format

FORMATS = {"adapter": "adapter", "merged": "merged", "onnx": "onnx_graph", "gguf": "gguf_file"}
"""Each format's name, and the module of this package that holds it as FORMAT."""


def find_format(name: str) -> "Format":
    """Look a format up by its name.

    Raises:
        ConfigError: There is none of that name, or its packages are not installed.
    """
    if name not in FORMATS:
        raise ConfigError(f'there is no export format "{name}"; there are: {", ".join(FORMATS)}.')
    if missing := describe_missing(name):
        raise ConfigError(f"the {name} export {missing}.")
    return _load_format(name)


def describe_missing(name: str) -> str:
    """Say which packages a format lacks here and how to get them; nothing where it has all."""
    missing = [package for package in _load_format(name).packages if find_spec(package) is None]
    return f"needs {' and '.join(missing)}: `pip install 'qwenkit[{name}]'`" if missing else ""


def identify_export(name: str, settings: Any) -> dict[str, Any]:
    """Name what decides this export and no other: its format, and the settings that only that reads."""
    return {"format": name} | {each: getattr(settings, each) for each in find_format(name).own_settings}


def _load_format(name: str) -> "Format":
    found: Format = import_module(f"qwenkit.export.{FORMATS[name]}").FORMAT
    return found

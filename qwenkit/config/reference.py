"""The config written out: as YAML, as a table of all settings, as a JSON schema."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from qwenkit.config.problems import show_value
from qwenkit.config.schema import Config, flatten_config
from qwenkit.config.section import Section, iterate_fields
from qwenkit.config.yaml_reader import resolve_plain

WIDTH = 110
_TYPE_NAMES = {bool: "true/false", int: "whole number", float: "number", str: "text", NoneType: "null"}
_MARKDOWN_HEAD = """# Settings

Every setting of config.yaml, made from the schema by `qwenkit config reference`. Precedence: these defaults <
the file < `--set section.key=value` < options with a name of their own (`--epochs`). A setting that decides a
result is part of a stage's fingerprint: when it changes, what was made with another value is made again."""
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


@dataclass(frozen=True)
class SettingReference:
    """One row of the reference.

    Attributes:
        kind: The type in words, with its bounds.
        default: As it would stand in a file.
    """

    name: str
    kind: str
    default: str
    help: str


def config_reference() -> list[SettingReference]:
    """List every setting with its type, default and help text, in the order of the schema."""
    defaults = flatten_config(Config())
    return [
        SettingReference(
            name=name,
            kind=_describe_type(field),
            default=_write_value(defaults[name]),
            help=" ".join((field.description or "").split()),
        )
        for name, field in iterate_fields(Config)
    ]


def config_to_markdown() -> str:
    """Write the reference for people: a table a section, in the order of the schema."""
    sections: dict[str, list[SettingReference]] = {}
    for entry in config_reference():
        sections.setdefault(entry.name.partition(".")[0], []).append(entry)
    blocks = [_MARKDOWN_HEAD]
    for name, entries in sections.items():
        rows = [
            f"| `{entry.name}` | {_cell(entry.kind)} | `{_cell(entry.default)}` | {_cell(entry.help)} |"
            for entry in entries
        ]
        table = ["| setting | type | default | what it does |", "|---|---|---|---|", *rows]
        blocks.append("\n".join([f"## {name}", "", _summary(getattr(Config(), name)), "", *table]))
    return "\n\n".join(blocks) + "\n"


def config_json_schema() -> dict[str, Any]:
    """Give the JSON schema, with which an editor completes and checks a config.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}


def config_to_yaml(config: Config, *, comments: bool = False) -> str:
    """Write a config so that loading it gives the same config again.

    Args:
        comments: Put the help text above each setting.
    """
    sections = [f"# {_summary(config)}"] if comments else []
    for key in Config.model_fields:
        section = getattr(config, key)
        heading = [f"# {_summary(section)}"] if comments else []
        sections.append("\n".join([*heading, f"{key}:", *_write_section(section, "  ", comments)]))
    return ("\n\n" if comments else "\n").join(sections) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _summary(section: Section) -> str:
    return (section.__doc__ or "").partition("\n")[0]


def _write_section(section: Section, indent: str, comments: bool) -> Iterator[str]:
    for at, (key, field) in enumerate(type(section).model_fields.items()):
        value = getattr(section, key)
        text = field.description or (_summary(value) if isinstance(value, Section) else "")
        if comments:
            prefix = f"{indent}# "
            yield from [""] * (at > 0)
            yield from textwrap.wrap(
                " ".join(text.split()),
                WIDTH,
                initial_indent=prefix,
                subsequent_indent=prefix,
                break_on_hyphens=False,
            )
        if isinstance(value, Section):
            yield f"{indent}{key}:"
            yield from _write_section(value, indent + "  ", comments)
        else:
            yield f"{indent}{key}: {_write_value(value)}"


def _write_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # 1e-05 is text to a YAML 1.1 reader, 1.0e-05 is a number to all.
        mantissa, exponent, power = repr(value).partition("e")
        return mantissa + (".0" if exponent and "." not in mantissa else "") + exponent + power
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_write_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_write_value(each)}' for key, each in value.items())}}}"
    return _write_text(value) if isinstance(value, str) else show_value(value)


def _write_text(text: str) -> str:
    """Quote a text unless every YAML reader takes it for one as it stands."""
    is_word = (
        text.isascii()
        and text[:1].isalpha()
        and text.replace("_", "").replace("/", "").replace(".", "").replace("-", "").isalnum()
    )
    if (
        is_word
        and isinstance(resolve_plain(text), str)
        and text.lower() not in ("yes", "no", "on", "off", "y", "n")
    ):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in escaped) + '"'


def _describe_type(field: FieldInfo) -> str:
    bounds = [
        f"{words} {getattr(rule, name):,}"
        for rule in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(rule, name)
    ]
    return ", ".join([_name_type(field.annotation), *bounds])


def _name_type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(_write_value, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(_name_type, arguments))
    if origin is list:
        return f"list of {_name_type(arguments[0])}"
    if origin is dict:
        plural = "lists by name, each a " if get_origin(arguments[1]) is list else "by name, each "
        return plural + _name_type(arguments[1])
    if hasattr(annotation, "__metadata__"):
        return _name_type(arguments[0])
    return _TYPE_NAMES[annotation]

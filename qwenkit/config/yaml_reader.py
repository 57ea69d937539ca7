"""YAML text in, settings with their lines out; nothing in a file can surprise the reader or us.

Plain words are read as in YAML 1.2, not as PyYAML reads them: `1e-4` is a number, `no` and `2024-01-01` are
text, `012` is not ten. What hides a value from its reader is refused: anchors, aliases, merge keys, tags, and
a key given twice.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from qwenkit.config.problems import ConfigProblem, Given, Origin, show_name

# A config is four levels deep; much more is a mistake or an attack, and PyYAML recurses.
DEEPEST_LEVEL = 12

_INT = re.compile(r"[-+]?(0|[1-9]\d{0,17}|[1-9]\d{0,2}(_\d{3}){1,5})")
_FLOAT = re.compile(r"[-+]?(\d{1,300}(\.\d{0,300})?|\.\d{1,300})([eE][-+]?\d{1,5})?")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF))|\.(nan|NaN|NAN)")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())
}


def read_settings(text: str, sections: Collection[str]) -> tuple[dict[str, Given], list[ConfigProblem]]:
    """Read a config file.

    Args:
        sections: Dotted names whose values are sections; below them every key is a setting.

    Returns:
        The settings by dotted name, each with its line, and everything that is wrong with the file as YAML.
    """
    root, problems = _compose(text)
    if problems or root is None or (isinstance(root, ScalarNode) and _plain_value(root) is None):
        return {}, problems
    if not isinstance(root, MappingNode):
        message = f"expected sections such as `training:`, found {_kind(root)}"
        return {}, [ConfigProblem("", message, origin=Origin(line=_line(root)))]
    given: dict[str, Given] = {}
    for name, node, line in _walk(root, "", sections, problems):
        before = len(problems)
        value = _value(node, name, problems)
        if len(problems) == before:
            given[name] = Given(value, Origin(line=line))
    return given, problems


def read_value(text: str, name: str) -> tuple[Any, list[ConfigProblem]]:
    """Read the value of one --set option by the same rules."""
    root, problems = _compose(text)
    if problems or root is None:
        return None, problems
    value = _value(root, name, problems)
    return value, problems


def resolve_plain(text: str) -> Any:
    """Give the value of a word that stands without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    return float(text.replace(".", "").lower()) if _NOT_FINITE.fullmatch(text) else text


def _compose(text: str) -> tuple[Node | None, list[ConfigProblem]]:
    """Parse in two passes: the first one never recurses and refuses whatever could hurt the second."""
    try:
        problems = list(_refused_events(text))
        if problems:
            return None, problems
        return yaml.compose(text, Loader=yaml.SafeLoader), []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"not YAML: {error.problem or error.context}"
        return None, [ConfigProblem("", message, origin=_origin(mark))]
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        message = f"not text: character {error.position} is U+{ord(text[error.position]):04X}"
        return None, [ConfigProblem("", message, origin=Origin(line=line))]
    except (ValueError, OverflowError) as error:
        # PyYAML lets these through for escapes beyond Unicode, such as "\UFFFFFFFF".
        return None, [ConfigProblem("", f"not YAML: {error}")]


def _refused_events(text: str) -> Iterator[ConfigProblem]:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        origin = _origin(event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > DEEPEST_LEVEL or documents > 1:
            what = "more than one document" if documents > 1 else f"nested deeper than {DEEPEST_LEVEL} levels"
            yield ConfigProblem("", f"{what}: not a config", origin=origin)
            return
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            message = f"anchors and aliases ({show_name(anchor)}) are not read here: write the value out"
            yield ConfigProblem("", message, origin=origin)
        if tag is not None:
            message = f"tags ({show_name(tag)}) are not read here: write the plain value"
            yield ConfigProblem("", message, origin=origin)


def _walk(
    mapping: MappingNode, prefix: str, sections: Collection[str], problems: list[ConfigProblem]
) -> Iterator[tuple[str, Node, int]]:
    """Give every setting below a section, going down into the sections inside it."""
    for key, node, line in _items(mapping, prefix, problems):
        name = f"{prefix}{key}"
        if "." in key:
            message = "a name has no dot: write the section, and the setting below it"
            problems.append(ConfigProblem(name, message, origin=Origin(line=line)))
        elif name not in sections:
            yield name, node, line
        elif isinstance(node, MappingNode):
            yield from _walk(node, f"{name}.", sections, problems)
        elif not (isinstance(node, ScalarNode) and _plain_value(node) is None):
            message = f"expected a section with settings below it, found {_kind(node)}"
            problems.append(ConfigProblem(name, message, origin=Origin(line=line)))


def _items(
    mapping: MappingNode, prefix: str, problems: list[ConfigProblem]
) -> Iterator[tuple[str, Node, int]]:
    first_lines: dict[str, int] = {}
    for key, node in mapping.value:
        line = _line(key)
        origin = Origin(line=line)
        if not isinstance(key, ScalarNode):
            problems.append(
                ConfigProblem(prefix.rstrip("."), f"expected a name, found {_kind(key)}", origin=origin)
            )
        elif key.value == "<<" and key.style is None:
            message = "merge keys (<<) are not read here: write the settings out"
            problems.append(ConfigProblem(prefix.rstrip("."), message, origin=origin))
        elif key.value in first_lines:
            message = f"given twice, first in line {first_lines[key.value]}"
            problems.append(ConfigProblem(f"{prefix}{key.value}", message, origin=origin))
        else:
            first_lines[key.value] = line
            yield key.value, node, line


def _value(node: Node, name: str, problems: list[ConfigProblem]) -> Any:
    if isinstance(node, ScalarNode):
        value = _plain_value(node)
        if isinstance(value, float) and not abs(value) < float("inf"):
            message = f"expected a finite number, found {node.value[:40]}"
            problems.append(ConfigProblem(name, message, origin=Origin(line=_line(node))))
            return None
        return value
    if isinstance(node, MappingNode):
        items = _items(node, f"{name}.", problems)
        return {key: _value(inner, f"{name}.{key}", problems) for key, inner, _ in items}
    return [_value(item, name, problems) for item in node.value]


def _plain_value(node: ScalarNode) -> Any:
    return resolve_plain(node.value) if node.style is None else node.value


def _kind(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return f"{node.value[:40]!r}"
    return "a mapping" if isinstance(node, MappingNode) else "a list"


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _origin(mark: Any) -> Origin:
    return Origin(line=None if mark is None else mark.line + 1)

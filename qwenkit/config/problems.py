"""What is wrong with a config, said so that it can be mended: which setting, where given, what to write."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qwenkit.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

# Nobody reads further, and a file of garbage can hold thousands.
MOST_PROBLEMS_SHOWN = 50

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text of whole characters",
    "list_type": "a list, like [a, b]",
    "model_type": "a section with settings",
    "model_attributes_type": "a section with settings",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "text that is not empty",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}


@dataclass(frozen=True)
class Origin:
    """Where a setting was given: a line of the file, or an option such as --set; neither for a default."""

    line: int | None = None
    option: str = ""

    @property
    def label(self) -> str:
        return self.option or (f"line {self.line}" if self.line is not None else "")


@dataclass(frozen=True)
class Given:
    """A value that a person gave for a setting."""

    value: Any
    origin: Origin = Origin()


@dataclass(frozen=True)
class ConfigProblem:
    """One thing that is wrong.

    Attributes:
        name: Dotted name of the setting, empty when it is the file as a whole.
        also: The other settings that take part; their place is shown where the first is a default.
    """

    name: str
    message: str
    also: tuple[str, ...] = ()
    origin: Origin = Origin()

    def located(self, origins: Mapping[str, Origin]) -> "ConfigProblem":
        """Add the place where the setting, or else one that takes part, was given."""
        if self.origin.label:
            return self
        places = (origins[name] for name in (self.name, *self.also) if name in origins)
        return replace(self, origin=next(places, Origin()))


def config_error(source: str, problems: Sequence[ConfigProblem]) -> ConfigError:
    """Put all problems into one error, a line each, in the order of the file and then of the options.

    Args:
        source: What has the problems, as the user knows it: "my.yaml".
    """
    ordered = sorted(
        dict.fromkeys(problems), key=lambda each: (bool(each.origin.option), each.origin.line or 1 << 30)
    )
    shown = ordered[:MOST_PROBLEMS_SHOWN]
    labels = [show_name(each.origin.label) for each in shown]
    names = [show_name(each.name) for each in shown]
    label_width = max(map(len, labels)) + 2 if any(labels) else 0
    name_width = max(map(len, names)) + 3 if any(names) else 0
    count = f"{len(ordered)} problem{'s' if len(ordered) > 1 else ''}"
    lines = [f"{source} has {count}:"]
    for label, name, each in zip(labels, names, shown, strict=True):
        lines.append(f"  {label:<{label_width}}{name:<{name_width}}{each.message}")
    if len(ordered) > len(shown):
        lines.append(f"  and {len(ordered) - len(shown)} more")
    return ConfigError("\n".join(lines))


def problems_of(
    error: "ValidationError", known: Collection[str], *, section: str = ""
) -> list[ConfigProblem]:
    """Say a pydantic error in our words.

    Args:
        known: Dotted names of the settings below what was validated.
        section: Dotted name of the section that was validated, empty for the whole config.
    """
    problems = []
    alternatives: dict[str, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        name, rest = _split_location(detail["loc"], known)
        if rest and isinstance(rest[0], str):
            alternatives.setdefault(name, []).append(detail)
            continue
        item = f"item {int(rest[0]) + 1}: " if rest else ""
        problems.append(ConfigProblem(name, item + _describe(detail)))
    # A setting of several kinds ("a number or auto") has an error for each kind that it is not.
    problems += [ConfigProblem(name, _describe_all(details)) for name, details in alternatives.items()]
    return [replace(each, name=f"{section}.{each.name}") for each in problems] if section else problems


def _split_location(
    location: tuple[int | str, ...], known: Collection[str]
) -> tuple[str, tuple[int | str, ...]]:
    """Tell the setting's name from what pydantic adds to it: an item, a key, a kind that it might be of."""
    depth = next((at for at, part in enumerate(location) if not isinstance(part, str)), len(location))
    for end in range(1, depth + 1):
        name = ".".join(map(str, location[:end]))
        if name in known:
            return name, location[end:]
    return ".".join(map(str, location[:depth])), location[depth:]


def _describe_all(details: "Sequence[ErrorDetails]") -> str:
    """Say in one sentence what all kinds of a setting expect."""
    expected = dict.fromkeys(wanted for each in details if (wanted := _expect(each)) is not None)
    if not expected:
        return _describe(details[0])
    return f"expected {' or '.join(expected)}, found {show_value(details[0]['input'])}"


def unknown_setting(name: str, known: Collection[str]) -> ConfigProblem:
    """Refuse a name that no setting has, with the nearest one that has.

    Args:
        known: Dotted names of the settings that exist.
    """
    section, _, key = name.rpartition(".")
    siblings = {each.rpartition(".")[2] for each in known if each.rpartition(".")[0] == section}
    sections = {each.partition(".")[0] for each in known if "." in each}
    # The outermost first: who writes `seed` means training.seed, not that of a section inside a section.
    elsewhere = sorted(
        (each for each in known if each.rpartition(".")[2] == key), key=lambda each: each.count(".")
    )
    what = "setting" if section or key not in sections else "section"
    advice = ""
    if near := nearest_name(key, siblings):
        advice = near
    elif elsewhere:
        advice = elsewhere[0]
    elif not section and (near := nearest_name(key, sections)):
        what, advice = "section", near
    elif section and section not in sections and (near := nearest_name(section, sections)):
        advice = f"{near}.{key}"
    elif near := nearest_name(key, {each.rpartition(".")[2] for each in known}, cutoff=0.8):
        advice = next(each for each in known if each.rpartition(".")[2] == near)
    return ConfigProblem(name, f"unknown {what}" + (f"; did you mean {show_name(advice)}?" if advice else ""))


def show_value(value: Any) -> str:
    """Write a value as it would stand in the file, short and with control characters escaped."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    text = repr(value) if isinstance(value, (str, int, float, list, tuple)) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def show_name(name: str) -> str:
    """Make a name from a file safe to print: it may hold anything."""
    text = name if name.isprintable() else repr(name)[1:-1]
    return text if len(text) <= 80 else text[:77] + "..."


def nearest_name(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Find the name that was probably meant, if there is one."""
    from difflib import get_close_matches

    # Names are short; a longer one is garbage, and the comparison takes quadratic time.
    return next(iter(get_close_matches(name[:100], sorted(known), n=1, cutoff=cutoff)), None)


def describe_unknown(name: str, known: Collection[str]) -> str:
    """Refuse a name that an open list doesn't have, with the nearest one that it has, else with all."""
    near = nearest_name(name, known)
    advice = f"did you mean {near}?" if near else f"there is {list_names(sorted(known))}"
    return f"{show_name(name)} is unknown; {advice}"


def require_names(names: Iterable[str], known: Collection[str], *, setting: str) -> None:
    """Refuse names that an open list doesn't have, where they reach code without going through a config.

    Raises:
        ConfigError: All of them at once.
    """
    problems = [ConfigProblem(setting, describe_unknown(name, known)) for name in names if name not in known]
    if problems:
        raise config_error("the config", problems)


def list_names(names: Iterable[str]) -> str:
    """Write names from a file one after another, safe to print."""
    return ", ".join(map(show_name, names)) or "nothing"


def _describe(detail: "ErrorDetails") -> str:
    kind, found = detail["type"], detail["input"]
    expected = _expect(detail)
    if expected is None:
        return str(detail["ctx"]["error"]) if kind == "value_error" else detail["msg"]
    if kind in ("too_short", "too_long"):
        return f"expected {expected}, found {len(found)}"
    advice = ""
    if found is None:
        advice = "; leave the line out for the default"
    elif kind == "string_type" and isinstance(found, (int, float)):
        advice = "; put it in quotes"
    return f"expected {expected}, found {show_value(found)}{advice}"


def _expect(detail: "ErrorDetails") -> str | None:
    """Name what would have been right; None where pydantic or a check of ours says more than that."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "").replace("True", "true").replace("False", "false")
    return _EXPECTED[kind].format(**context) if kind in _EXPECTED else None

"""From a file, --set and named options to one checked config, with every problem said at once."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qwenkit.config.checks import check_config
from qwenkit.config.legacy import SECTIONS as LEGACY_SECTIONS
from qwenkit.config.legacy import translate_legacy
from qwenkit.config.options import read_named_options, read_overrides
from qwenkit.config.problems import ConfigProblem, Given, config_error, problems_of, unknown_setting
from qwenkit.config.schema import Config, flatten_config, setting_names
from qwenkit.config.yaml_reader import read_settings
from qwenkit.errors import ConfigError

DEFAULT_FILE = "config.yaml"
NO_FILE = "the config"
# A config is a few kilobytes; reading stops here, and so does the time that garbage can cost.
MOST_BYTES = 256 * 1024


@dataclass(frozen=True)
class LoadedConfig:
    """A config and where it comes from.

    Attributes:
        notes: One line for each key of the file that was mapped, dropped or kept against an option.
        source: The file as the user knows it, for messages; "the config" without one.
        path: The file itself; None when there is none.
        given: Every setting that is not a default, as it was given.
    """

    config: Config
    notes: tuple[str, ...] = ()
    source: str = NO_FILE
    path: Path | None = None
    given: Mapping[str, Given] = field(default_factory=dict)

    def require(self, problems: Sequence[ConfigProblem], config: Config | None = None) -> None:
        """Raise one ConfigError with the place of each problem, if there is any.

        Args:
            config: The config that has the problems, where it is no longer the loaded one. A setting that
                was changed since has no place in the file.
        """
        if not problems:
            return
        now = flatten_config(config or self.config)
        unchanged = [name for name, each in self.given.items() if name in now and now[name] == each.value]
        origins = {name: self.given[name].origin for name in unchanged}
        raise config_error(self.source, [each.located(origins) for each in problems])

    def validate_again(self, config: Config | None = None) -> None:
        """Check a whole config again: lists may have been changed in place, fields one by one.

        Raises:
            ConfigError: All problems at once.
        """
        values = flatten_config(config or self.config)
        _, problems = build_config({name: Given(value) for name, value in values.items()})
        self.require(problems, config)


def load_config(
    source: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    named: Mapping[str, Any] | None = None,
) -> LoadedConfig:
    """Load a config: the schema's defaults, then the file, then --set, then the named options.

    Args:
        source: A path, or the name of a shipped config (demo, fast, default). None takes ./config.yaml
            if there is one.
        overrides: Each "section.key=value".
        named: Options with a name of their own, such as {"epochs": 1, "lora_rank": 32}; see options.py.

    Raises:
        ConfigError: All problems at once, each with its line or option and the nearest name.
    """
    path, is_shipped = _find(source)
    label = _label(path, is_shipped)
    sections = section_names()
    in_file, problems = read_settings(_read_text(path), sections) if path else ({}, [])
    translated = translate_legacy(in_file)
    options = read_overrides(overrides, sections)
    given = {**translated.given, **options.given}
    written = options.given if is_shipped else given
    named_options = read_named_options(named or {}, given, written)
    given |= named_options.given
    problems += [*translated.problems, *options.problems, *named_options.problems]
    config, more = build_config(given, already_wrong={each.name for each in problems})
    notes = (*translated.notes, *options.notes, *named_options.notes)
    loaded = LoadedConfig(config, notes, label, path, given)
    loaded.require([*problems, *more])
    return loaded


def build_config(
    given: Mapping[str, Given], *, already_wrong: Collection[str] = ()
) -> tuple[Config, list[ConfigProblem]]:
    """Put settings into a config and check it; a wrong one is left at its default and reported.

    Args:
        already_wrong: Settings with a problem found earlier: what depends on them is not judged.
    """
    known = setting_names()
    problems = [unknown_setting(name, known) for name in given if name not in set(known)]
    values = {name: each.value for name, each in given.items() if name in set(known)}
    try:
        config = Config.model_validate(_nest(values))
    except ValidationError as error:
        problems += problems_of(error, known)
        wrong = {each.name for each in problems}
        config = Config.model_validate(
            _nest({name: each for name, each in values.items() if name not in wrong})
        )
    origins = {name: each.origin for name, each in given.items()}
    wrong = {each.name for each in problems} | set(already_wrong)
    problems += [each for each in check_config(config) if wrong.isdisjoint((each.name, *each.also))]
    return config, [each.located(origins) for each in problems]


def section_names() -> frozenset[str]:
    """Name everything that holds settings instead of being one, those of original configs included."""
    names = {name.rpartition(".")[0] for name in setting_names()}
    return frozenset(names | set(LEGACY_SECTIONS))


def shipped_configs() -> dict[str, Path]:
    """Find the configs that come with the package: name and file, in the wheel or in a checkout."""
    package = Path(__file__).parent.parent
    in_wheel = package / "configs"
    folder = in_wheel if in_wheel.is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_shipped_config(name: str) -> Path:
    """Give the file of a shipped config.

    Raises:
        ConfigError: There is none of this name; the message lists those there are.
    """
    shipped = shipped_configs()
    if name not in shipped:
        raise ConfigError(f"no config is called {name!r}; shipped with qwenkit: {', '.join(shipped)}.")
    return shipped[name]


def _find(source: str | Path | None) -> tuple[Path | None, bool]:
    """Give the file to read, and whether it is one of ours."""
    if source is None:
        return (Path(DEFAULT_FILE) if os.path.lexists(DEFAULT_FILE) else None), False
    shipped = shipped_configs()
    if isinstance(source, str) and source in shipped:
        return shipped[source], True
    return Path(source), False


def _label(path: Path | None, is_shipped: bool) -> str:
    if path is None:
        return NO_FILE
    label = path.name if is_shipped else str(path)
    return label if label.isprintable() else repr(label)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # A device or a pipe may have no end.
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError(f"{path} is not a config: it is longer than {MOST_BYTES // 1024} KiB.")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        names = ", ".join(shipped_configs())
        message = (
            f"config file {str(path)!r} does not exist; give a path, or one of the shipped configs: {names}."
        )
        raise ConfigError(message) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a config: byte {error.start} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"config file {str(path)!r} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        # A NUL in the name.
        raise ConfigError(f"{str(path)!r} is not the name of a file: {error}.") from None


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names into sections within sections."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, key = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return nested

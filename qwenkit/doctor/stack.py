"""The versions that qwenkit was tested with, against those that are installed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from qwenkit.errors import ConfigError

# With which the tests run; later ones should work.
TESTED_PYTHON = (3, 11)
PACKAGE = Path(__file__).parents[1]
# In a wheel the file lies in the package, in a checkout where `make setup` reads it.
CONSTRAINTS = (PACKAGE / "constraints.txt", PACKAGE.parent / ".ci" / "constraints.txt")


@dataclass(frozen=True)
class Package:
    """One direct dependency. None stands for a version that is not known, or a package that is missing."""

    name: str
    required: str
    tested: str | None
    installed: str | None

    @property
    def is_too_old(self) -> bool:
        """Whether it is below what qwenkit asks for."""
        return self.installed is not None and _parse(self.installed) < _parse(self.required)

    @property
    def is_tested(self) -> bool:
        """Whether it is the tested version; a build tag such as +cpu does not count."""
        return self.installed is not None and self.installed.partition("+")[0] == self.tested


def read_tested_versions() -> dict[str, str]:
    """Read the tested stack: version by package name, in lower case with dashes.

    Raises:
        ConfigError: The file is missing, so this is no whole installation.
    """
    path = next((path for path in CONSTRAINTS if path.is_file()), None)
    if path is None:
        raise ConfigError(
            "the list of tested versions is missing from this installation: install qwenkit anew."
        )
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("==") for line in lines if "==" in line]
    return {normalise(name): version for name, _, version in pairs}


def list_packages() -> list[Package]:
    """List what qwenkit directly depends on, as its installed metadata says."""
    tested = read_tested_versions()
    return [
        Package(name, required, tested.get(normalise(name)), _find_version(name))
        for name, required in _read_requirements()
    ]


def normalise(name: str) -> str:
    """Spell a package's name in the one way that all indexes agree on."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read_requirements() -> Iterator[tuple[str, str]]:
    """Give name and lowest version of each requirement that is no extra."""
    for line in metadata.requires("qwenkit") or ():
        requirement, _, marker = line.partition(";")
        found = re.match(r"([\w.-]+)\s*(?:\[[^]]*\])?\s*>=\s*([\w.]+)", requirement)
        if found and "extra" not in marker:
            yield found.group(1), found.group(2)


def _find_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _parse(version: str) -> tuple[int, ...]:
    """Take the leading numbers: 2.13.0rc1+cu130 -> (2, 13, 0)."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in numbers.group().split(".")) if numbers else ()


def describe(packages: Mapping[str, str]) -> str:
    """List packages with what is to be said of each."""
    return ", ".join(f"{name} {what}" for name, what in packages.items())

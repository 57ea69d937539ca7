"""The tested versions: one list, which a wheel carries too."""

import sys
import tomllib
from pathlib import Path

from qwenkit.doctor.stack import (
    TESTED_PYTHON,
    Package,
    list_packages,
    normalise,
    read_tested_versions,
)

REPOSITORY = Path(__file__).parents[2]


def test_a_wheel_carries_the_list_that_make_setup_installs() -> None:
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    # The place where stack.py looks first; `make wheel` runs doctor there.
    assert build["targets"]["wheel"]["force-include"][".ci/constraints.txt"] == "qwenkit/constraints.txt"


def test_every_dependency_has_a_tested_version_that_is_not_too_old() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    packages = list_packages()
    declared = {normalise(requirement.partition(">=")[0]) for requirement in project["dependencies"]}
    assert {normalise(package.name) for package in packages} == declared
    tested = read_tested_versions()
    for package in packages:
        assert package.tested == tested[normalise(package.name)]
        assert not Package(package.name, package.required, None, package.tested).is_too_old


def test_the_tests_run_on_the_tested_python() -> None:
    assert sys.version_info[:2] == TESTED_PYTHON


def test_versions_compare_by_number_and_build_tags_do_not_count() -> None:
    assert Package("torch", "2.10", "2.13.0", "2.9.1").is_too_old
    assert not Package("torch", "2.10", "2.13.0", "2.10.0rc1").is_too_old
    assert Package("torch", "2.10", "2.13.0", "2.13.0+cpu").is_tested
    assert not Package("torch", "2.10", "2.13.0", "2.13.1").is_tested

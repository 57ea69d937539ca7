"""Every broken input is refused with its place, and by the very check that is there for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qwenkit.cli.app import app
from tests.data.broken_inputs import BROKEN_INPUTS
from tests.data.good_inputs import GOOD, BrokenInput, write_good

every_input = pytest.mark.parametrize("row", BROKEN_INPUTS.values(), ids=list(BROKEN_INPUTS))


def run_prepare(data: Path, root: Path, *settings: str) -> tuple[int, str]:
    """Type the command, and give its exit code and what it printed."""
    chosen = [part for setting in ("dataset.audit=false", *settings) for part in ("--set", setting)]
    result = CliRunner().invoke(app, ["prepare", "--dataset", str(data), "--root", str(root), *chosen])
    return result.exit_code, result.output


def spoil(row: BrokenInput, folder: Path) -> Path:
    path = write_good(folder, row.good)
    return row.spoil(path) or path


@every_input
def test_broken_input_is_refused_with_place_and_remedy(row: BrokenInput, tmp_path: Path) -> None:
    code, printed = run_prepare(spoil(row, tmp_path), tmp_path / "output", *row.settings)
    assert code == row.code, printed
    for phrase in row.says:
        assert phrase in printed
    assert "Traceback" not in printed and "bug of qwenkit" not in printed
    assert "\x1b" not in printed and "\u202e" not in printed
    left = [path for path in (tmp_path / "output").rglob("*") if path.is_file()]
    assert left == [], "something half-written stays"


@every_input
def test_without_its_check_the_input_is_not_refused_so(
    row: BrokenInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: it fails where another check than the one named finds the defect."""
    path = spoil(row, tmp_path)
    monkeypatch.setattr(row.check, take_out(row.check))
    _, printed = run_prepare(path, tmp_path / "output", *row.settings)
    assert not all(phrase in printed for phrase in row.says)


@pytest.mark.parametrize("name", GOOD)
def test_the_same_input_unspoiled_is_prepared_whole(name: str, tmp_path: Path) -> None:
    code, printed = run_prepare(write_good(tmp_path, name), tmp_path / "output")
    assert code == 0, printed
    [manifest] = (tmp_path / "output").rglob("manifest.json")
    accounts = json.loads(manifest.read_text())["counts"]["splits"].values()
    assert sum(account["in"] for account in accounts) == sum(account["kept"] for account in accounts) == 60


def take_out(check: str) -> Callable[..., None] | tuple[()]:
    """Give what stands in the place of a check that looks at nothing; of a list of checks, none."""

    def look_at_nothing(*_: Any, **__: Any) -> None:
        return None

    return () if check.endswith("_CHECKS") else look_at_nothing

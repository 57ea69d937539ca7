"""The stages as data: every setting belongs to one of them, or says that it decides nothing."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from qwenkit.config import Config, flatten_config, runtime_only_settings
from qwenkit.errors import BusyError
from qwenkit.stages import EVALUATE, STAGES, TRAIN, StagePlan

PACKAGE = Path(__file__).parents[1] / "qwenkit"


def test_every_setting_is_in_a_fingerprint_resolved_or_runtime_only() -> None:
    for name in flatten_config(Config()):
        is_read = any(stage.reads(name) for stage in STAGES)
        is_resolved = any(name in stage.resolved for stage in STAGES)
        is_runtime_only = name in runtime_only_settings()
        assert (is_read or is_resolved) + is_runtime_only == 1, name


def test_stages_name_only_settings_that_exist() -> None:
    names = set(flatten_config(Config()))
    for stage in STAGES:
        assert set(stage.resolved) <= names
        for pattern in stage.settings:
            assert any(stage.reads(name) for name in names if name.startswith(pattern.rstrip("*"))), pattern


def test_every_setting_is_read_by_code() -> None:
    read: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        # To check a setting, or to say what it is, is not yet to do anything with it.
        is_check = path.parent.name == "config" and not path.name.startswith("schema")
        if not is_check and path.parent.name != "examples":
            read |= {
                node.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
            }
    # The section of the tiny model goes to transformers as a whole.
    names = [name for name in flatten_config(Config()) if not name.startswith("model.tiny.")]
    assert [name for name in names if name.rpartition(".")[2] not in read] == []


def imported_modules(path: Path) -> set[str]:
    """Name the modules of qwenkit that one imports, inside functions too, but not for types alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only and node.module:
            # Of a package either a module is taken, or what its __init__ hands on.
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            modules |= inner or {node.module}
    return {module for module in modules if module.startswith("qwenkit.")}


def name_module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_module(path): path for path in PACKAGE.rglob("*.py")}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imported_modules(path) for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > len(MODULES)
    # It raises CycleError, which names them.
    TopologicalSorter(graph).prepare()


def test_imports_run_one_way() -> None:
    bottom = {
        "artifacts",
        "changes",
        "config",
        "console",
        "errors",
        "exhaustion",
        "files",
        "hub",
        "hub_causes",
    }
    bottom |= {"model_upload", "ranks", "runs", "saved", "stages", "versions"}
    middle = bottom | {"calibration", "metrics", "probabilities", "text", "tracking"}
    models = middle | {"tokens", "modeling"}
    allowed = dict.fromkeys(bottom, bottom) | dict.fromkeys(middle - bottom, middle)
    allowed |= dict.fromkeys(("tokens", "modeling", "data", "training", "evaluation", "export"), models)
    for part, may_import in allowed.items():
        paths = [*sorted((PACKAGE / part).rglob("*.py")), *PACKAGE.glob(f"{part}.py")]
        assert paths, part
        for path in paths:
            parts = {module.split(".")[1] for module in imported_modules(path)}
            wrong = parts - may_import - {part}
            assert not wrong, f"{path.relative_to(PACKAGE)} imports {sorted(wrong)}"


def plan_at(folder: Path, stage=EVALUATE) -> StagePlan:
    return StagePlan(stage, folder, settings={}, inputs={}, identity={"rows": "a"})


def test_a_folder_of_the_users_own_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BusyError, match=r"such as thesis\.txt"), plan_at(tmp_path).publish(replace=True):
        pytest.fail("nothing may be made")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n")
    with pytest.raises(BusyError, match="is a file"), plan_at(tmp_path / "rows.csv").publish(replace=True):
        pytest.fail("nothing may be made")
    assert (tmp_path / "rows.csv").read_text() == "text,label\n"


def test_what_another_stage_made_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    with plan_at(folder, TRAIN).publish(replace=True) as staging:
        (staging.folder / "adapter").write_text("weights")
    with pytest.raises(BusyError, match="what `train` made"), plan_at(folder).publish(replace=True):
        pytest.fail("nothing may be made")
    assert (folder / "adapter").read_text() == "weights"


@pytest.mark.parametrize("damage", [None, "{}"])
def test_an_empty_folder_and_what_the_stage_itself_made_give_way(tmp_path: Path, damage: str | None) -> None:
    for content in ("old", "new"):
        with plan_at(tmp_path / "after").publish(replace=True) as staging:
            (staging.folder / "metrics").write_text(content)
        if damage and content == "old":
            (tmp_path / "after/manifest.json").write_text(damage)
    assert (tmp_path / "after/metrics").read_text() == "new"

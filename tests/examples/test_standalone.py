"""standalone.py: linear, on its own, with the recipe's constants, and an oracle for the pipeline."""

import ast
import logging
import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from qwenkit import QwenTrainingPipeline
from qwenkit.artifacts import read_manifest
from qwenkit.config import Config, flatten_config
from qwenkit.config.loading import find_shipped_config
from qwenkit.console import Console
from qwenkit.data.prepare import prepare_splits
from qwenkit.data.sources import ALIASES, resolve_source

SCRIPT = Path(__file__).parents[2] / "qwenkit" / "examples" / "standalone.py"
SOURCE = SCRIPT.read_text(encoding="utf-8")
# Where the last part of a setting's name does not say which one the constant is.
SETTINGS = {
    "MODEL_NAME": "model.name",
    "REVISION": "model.revision",
    "QUANTIZE": "quantization.enabled",
    "SEED": "training.seed",
    "THRESHOLD": "early_stopping.threshold",
}
NO_SETTING = {"SELECTED_DATASET", "DATASETS", "RAID", "TINY"}
STEPS = {"MAX_STEPS": 12, "EVAL_STEPS": 5, "PRE_TRAINING_EVAL_SAMPLES": 60}
# Products in bfloat16 make 1e-3 of what differs in the last bit of a weight, as on some CPUs from step 3 on.
NF4_STEPS = STEPS | {"BNB_4BIT_COMPUTE_DTYPE": "float32"}


def read_constants(statements: list[ast.stmt]) -> dict[str, Any]:
    """Evaluate the assignments of constants among some statements, those of tuples too."""
    constants: dict[str, Any] = {}
    for node in statements:
        if isinstance(node, ast.AugAssign):
            constants[ast.unparse(node.target)] |= ast.literal_eval(node.value)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        names = [ast.unparse(name) for name in getattr(target, "elts", [target])]
        if all(name.isupper() for name in names):
            value = eval(ast.unparse(node.value), {}, dict(constants))
            values = value if isinstance(target, ast.Tuple) else [value]
            constants.update(zip(names, values, strict=True))
    return constants


def name_setting(constant: str) -> str:
    """Find the setting that a constant stands for: the only one whose last part is its name."""
    if constant in SETTINGS:
        return SETTINGS[constant]
    found = [name for name in flatten_config(Config()) if name.rpartition(".")[2] == constant.lower()]
    assert len(found) == 1, f"{constant} could be any of {found}"
    return found[0]


def tiny_block() -> list[ast.stmt]:
    blocks = [
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "arguments.tiny"
    ]
    return blocks[0].body


def test_the_script_is_short_linear_and_on_its_own() -> None:
    tree = ast.parse(SOURCE)
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not [name for name in imported if name and name.startswith("qwenkit")]
    assert 250 <= len(SOURCE.splitlines()) <= 350
    assert sum(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree)) <= 4


def read_settings(statements: list[ast.stmt]) -> dict[str, Any]:
    constants = read_constants(statements)
    return {name_setting(name): value for name, value in constants.items() if name not in NO_SETTING}


def test_its_constants_are_the_settings_of_default_yaml() -> None:
    default = flatten_config(
        Config.model_validate(yaml.safe_load(find_shipped_config("default").read_text()))
    )
    settings = read_settings(ast.parse(SOURCE).body)
    assert len(settings) >= 30
    assert settings == {name: default[name] for name in settings}
    constants = read_constants(ast.parse(SOURCE).body)
    for seed in ("evaluation.seed", "model.tiny.seed"):
        assert default[seed] == constants["SEED"]
    assert constants["TINY"] == {name: default[f"model.tiny.{name}"] for name in constants["TINY"]}
    assert constants["DATASETS"] == ALIASES


def test_its_tiny_constants_are_the_settings_of_demo_yaml() -> None:
    demo = yaml.safe_load(find_shipped_config("demo").read_text())
    given = {f"{section}.{key}": value for section, keys in demo.items() for key, value in keys.items()}
    for name in (
        "dataset.name",
        "model.name",
        "tokenization.tokenizer",
        "training.save_steps",
        "training.dataloader_num_workers",
        "wandb.enabled",
    ):
        del given[name]
    tiny = read_settings(tiny_block())
    assert set(tiny) <= set(given)
    recipe = read_settings(ast.parse(SOURCE).body) | tiny
    assert given == {name: recipe[name] for name in given}


@pytest.fixture(scope="module")
def rough_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the demo in three Parquet files, with more human rows and with rows that must be dropped."""
    from qwenkit.config.schema_model import Dataset, Model

    demo = prepare_splits(resolve_source("demo"), model=Model(), dataset=Dataset())
    folder = tmp_path_factory.mktemp("rough")
    parts = {split: frame.select("text", "label") for split, frame in demo.splits.items()}
    train, validation, test = (parts[split] for split in ("train", "validation", "test"))
    human = pl.col("label") == "Human_Written"
    bad = pl.DataFrame(
        {
            "text": ["", " \n\t", None, "A text with a label that nobody knows.", *train["text"][:2]],
            "label": ["AI_Generated", "Human_Written", "AI_Generated", "Unknown", *["Human_Written"] * 2],
        }
    )
    mixed = pl.concat([train[:300], train[300:700].filter(human), bad, test[:5], validation[:3]])
    mixed.write_parquet(folder / "train.parquet")
    pl.concat([validation[:120], test[7:9]]).write_parquet(folder / "validation.parquet")
    pl.concat([test[:150], test[:1]]).write_parquet(folder / "test.parquet")
    return folder


@pytest.fixture
def calm_logging() -> Iterator[None]:
    """Undo what the script does to logging, since it runs in this process here."""
    yield
    logging.disable(logging.NOTSET)


def run_script(data: Path, output: Path, monkeypatch: pytest.MonkeyPatch, **constants: Any) -> dict[str, Any]:
    """Run the script with constants changed as a user would, and give its variables."""
    changes = "".join(f"{name} = {value!r}\n" for name, value in constants.items())
    mark = "# ---- 1. Rows ----\n"
    assert SOURCE.count(mark) == 1
    script = output.with_suffix(".py")
    script.write_text(SOURCE.replace(mark, changes + mark), encoding="utf-8")
    monkeypatch.setattr("sys.argv", [str(script), "--data", str(data), "--tiny", "--output", str(output)])
    return runpy.run_path(str(script))


def run_pipeline(data: Path, root: Path, **constants: Any) -> QwenTrainingPipeline:
    """Run the pipeline with the same settings, and save as often as it evaluates."""
    settings = {name_setting(name): value for name, value in constants.items()}
    settings["training.save_steps"] = constants["EVAL_STEPS"]
    if "SEED" in constants:
        settings |= dict.fromkeys(("evaluation.seed", "model.tiny.seed"), constants["SEED"])
    pipeline = QwenTrainingPipeline(
        dataset=str(data),
        config_path="demo",
        root=root,
        overrides=[f"{name}={value}" for name, value in settings.items()],
        console=Console(quiet=True),
    )
    pipeline.run()
    return pipeline


@pytest.mark.usefixtures("calm_logging")
@pytest.mark.parametrize(
    "constants",
    [
        pytest.param(STEPS | {"QUANTIZE": False}, id="float32"),
        pytest.param(
            NF4_STEPS | {"EVAL_STEPS": 2, "PATIENCE": 2, "THRESHOLD": 0.05, "SEED": 7},
            id="nf4, another seed, stopped early",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            NF4_STEPS | {"LORA_DROPOUT": 0.1, "MAX_STEPS": 6}, id="nf4, dropout", marks=pytest.mark.slow
        ),
    ],
)
def test_script_and_pipeline_come_to_the_same_numbers(
    rough_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, constants: dict[str, Any]
) -> None:
    pipeline = run_pipeline(rough_data, tmp_path / "output", **constants)
    script = run_script(rough_data, tmp_path / "script", monkeypatch, **constants)

    for split, dataset, tokenized in (
        ("train", pipeline.train_dataset, pipeline.train_tokenized),
        ("validation", pipeline.val_dataset, pipeline.val_tokenized),
        ("test", pipeline.test_dataset, pipeline.test_tokenized),
    ):
        assert script["splits"][split]["text"].to_list() == list(dataset["text"])
        assert script["truth"][split].tolist() == list(tokenized["labels"])
        assert [ids.tolist() for ids in script["documents"][split]] == list(tokenized["input_ids"])
    weights = script["class_weights"].numpy()
    assert weights[0] > 1.1 > 0.9 > weights[1]
    # Class weights are stored with seven digits; everything else is the same arithmetic on the same numbers.
    np.testing.assert_allclose(weights, pipeline.class_weights, rtol=1e-6)

    manifest = read_manifest(pipeline.trained_folder)
    assert script["best"]["step"] == manifest.counts["best_step"]
    assert script["step"] + 1 == manifest.counts["steps"]
    assert (script["step"] + 1 < constants["MAX_STEPS"]) == ("PATIENCE" in constants)
    predictions = pl.read_parquet(pipeline.run_folder / "evaluated/after/predictions.parquet")
    logits = predictions.select("logit_AI_Generated", "logit_Human_Written").to_numpy()
    np.testing.assert_allclose(script["test_logits"], logits, rtol=0, atol=1e-5)
    written = pl.read_csv(tmp_path / "script/predictions.csv")
    assert written["predicted_label"].to_list() == predictions["predicted_label"].to_list()
    validation = pl.read_parquet(pipeline.trained_folder / "validation_predictions.parquet")
    assert script["best"]["rows"] == validation.height
    for ours, theirs in ((script["before"], pipeline.pre_metrics), (script["after"], pipeline.post_metrics)):
        for name, value in ours.items():
            assert np.allclose(value, theirs[name], rtol=0, atol=1e-6), name
    compared = pipeline.post_metrics["comparison"]["metrics"]["auroc"]
    assert math.isclose(script["same"]["auroc"], compared["after"], abs_tol=1e-6)


def test_wrong_arguments_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "done").mkdir()
    (tmp_path / "done/metrics.json").write_text("{}")
    pl.DataFrame({"body": ["a"], "label": ["Human_Written"]}).write_parquet(tmp_path / "test.parquet")
    for data, output, expected in (
        (tmp_path / "nothing", tmp_path / "new", "test.parquet is missing"),
        (tmp_path, tmp_path / "new", "test has no column text; it has body, label"),
        (tmp_path, tmp_path / "done", "holds the results of another run"),
    ):
        with pytest.raises(SystemExit) as left:
            run_script(data, output, monkeypatch)
        assert left.value.code == 2
        assert expected in capsys.readouterr().err

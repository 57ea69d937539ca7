"""Three classes whose column holds numbers, from the rows to the report: as a user types it."""

import random
from pathlib import Path

import polars as pl
import pytest

from qwenkit.files import read_json
from qwenkit.modeling.bundle import read_bundle
from tests.commands import call, call_for_json
from tests.conftest import COMMON
from tests.end_to_end.test_data_one_can_trust import settings

WORDS = {0: ["dog", "rain", "bus", "mud"], 1: ["delve", "robust", "pivotal"], 2: ["goal", "match", "league"]}
# Neither the order of the numbers nor the alphabet's: what the mapping says must decide.
CLASSES = ["sport", "human", "machine"]
MAPPING = "model.label_mapping={0: human, 1: machine, 2: sport, 9: null}"
NAME_OF = {0: "human", 1: "machine", 2: "sport"}


def write_numbers(path: Path, *, rows: int, seed: int) -> Path:
    """Write texts whose column `kind` is 0, 1 or 2, and some 9 of which nobody knows what they are."""
    draw = random.Random(seed)
    kinds = [row % 3 if row % 20 else 9 for row in range(rows)]
    texts = [draw.choices(COMMON, k=14) + draw.choices(WORDS.get(kind, COMMON), k=8) for kind in kinds]
    for words in texts:
        draw.shuffle(words)
    frame = {"text": [f"{' '.join(words)} {row}." for row, words in enumerate(texts)], "kind": kinds}
    pl.DataFrame(frame).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three classes: look, do not touch."""
    folder = tmp_path_factory.mktemp("three")
    data = write_numbers(folder / "kinds.parquet", rows=360, seed=0)
    quick = (
        "training.max_steps=6",
        "evaluation.run_pre_training_eval=false",
        "evaluation.bootstrap_draws=200",
    )
    chosen = settings("model.label_column=kind", f"model.labels=[{', '.join(CLASSES)}]", MAPPING, *quick)
    call("train", "--dataset", data, "--root", folder / "output", *chosen)
    call("evaluate", folder / "output/tiny-kinds", "--root", folder / "output")
    return folder / "output/tiny-kinds"


def test_numbers_become_the_classes_that_the_mapping_names(run_folder: Path) -> None:
    prepared = run_folder.parent / "datasets/kinds/prepared"
    labels = read_json(prepared / "labels.json")
    assert labels["labels"] == CLASSES
    assert {
        name: sum(counts[name] for counts in labels["counts"].values()) for name in CLASSES
    } == dict.fromkeys(CLASSES, 114)
    account = read_json(prepared / "manifest.json")["counts"]["splits"]["all"]
    assert (account["in"], account["dropped"]["unknown_label"]) == (360, 18)
    for split in ("train", "validation", "test"):
        rows = pl.read_parquet(prepared / f"{split}.parquet")
        words = {name: set(WORDS[kind]) for kind, name in NAME_OF.items()}
        for text, label, label_id in rows.select("text", "label", "label_id").iter_rows():
            assert words[label] & set(text.split())
            assert CLASSES[label_id] == label


def test_three_classes_are_scored_and_reported(run_folder: Path) -> None:
    metrics = read_json(run_folder / "evaluated/after/metrics.json")
    confusion = (
        metrics["overall"]["confusion_matrix"] if "overall" in metrics else metrics["confusion_matrix"]
    )
    assert [len(row) for row in confusion] == [3, 3, 3]
    report = (run_folder / "evaluated/after/report.html").read_text()
    assert all(name in report for name in CLASSES)


def test_model_of_three_classes_predicts_their_names(run_folder: Path) -> None:
    (record,) = call_for_json("predict", run_folder, "the goal in the match of the league")
    assert list(record["probabilities"]) == CLASSES
    assert sum(record["probabilities"].values()) == pytest.approx(1)


def test_model_reads_the_numbers_of_another_file_as_it_learned_them(run_folder: Path, tmp_path: Path) -> None:
    assert read_bundle(run_folder / "trained").label_mapping == {
        "0": "human",
        "1": "machine",
        "2": "sport",
        "9": None,
    }
    data = write_numbers(tmp_path / "others.parquet", rows=60, seed=1)
    column = ("--set", "model.label_column=kind")
    call("evaluate", run_folder, "--data", data, "--out", tmp_path / "scored", *column)
    rows = pl.read_parquet(tmp_path / "scored/predictions.parquet")
    kinds = pl.read_parquet(data)["kind"].to_list()
    assert rows["label"].to_list() == [NAME_OF[kinds[row]] for row in rows["row_id"]]
    assert rows.height == 57

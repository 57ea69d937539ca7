"""qwenkit predict: what it reads, decides and writes."""

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from qwenkit.pipeline import QwenTrainingPipeline
from tests.commands import call, call_for_json

TEXTS = ["the dog in the mud, said my brother", "delve into the seamless tapestry", 'a "quoted", text']


@pytest.fixture
def run(finished: QwenTrainingPipeline) -> Path:
    return finished.run_folder


def test_predict_prints_a_line_a_text(run: Path) -> None:
    records = call_for_json("predict", run, "the dog in the mud", "delve into the tapestry")
    assert [record["text"] for record in records] == ["the dog in the mud", "delve into the tapestry"]
    for record in records:
        assert sum(record["probabilities"].values()) == pytest.approx(1)
        assert record["label"] == max(record["probabilities"], key=record["probabilities"].get)


@pytest.mark.parametrize("name", ["fpr=0.05", "fpr=0.2"])
@pytest.mark.parametrize("folder", ["", "exported/merged"])
def test_predict_decides_at_an_operating_point_stored_or_chosen_on_validation(
    run: Path, toy_csv: Path, tmp_path: Path, name: str, folder: str
) -> None:
    out = tmp_path / "out.parquet"
    asked = ("--operating-point", name, "--input", toy_csv, "--output", out)
    printed = call("predict", run / folder, *asked)
    assert f"{name}: flags AI_Generated" in printed
    table = pl.read_parquet(out)
    is_flagged = table["decision"].to_numpy() == "AI_Generated"
    scores = table["probability_AI_Generated"].to_numpy()
    assert 0 < is_flagged.sum() < len(is_flagged)
    assert scores[is_flagged].min() > scores[~is_flagged].max()


def test_predict_says_uncertain_only_where_it_may(run: Path) -> None:
    texts = ("the dog in the mud", "delve into the tapestry", "the delve")
    asked = ("--operating-point", "fpr=0.05")
    decided = [record["decision"] for record in call_for_json("predict", run, *texts, *asked)]
    careful = [record["decision"] for record in call_for_json("predict", run, *texts, *asked, "--abstain")]
    assert set(decided) <= {"AI_Generated", "Human_Written"}
    for plain, cautious in zip(decided, careful, strict=True):
        assert cautious in (plain, "uncertain")
    call("predict", run, *texts, "--abstain", code=2)
    call("predict", run, *texts, "--operating-point", "0.05", code=2)


def test_an_export_predicts_what_the_trained_model_predicts(run: Path, tmp_path: Path, toy_csv: Path) -> None:
    tables = []
    for folder in (run, run / "exported/merged"):
        out = tmp_path / f"{folder.name}.parquet"
        call("predict", folder, "--input", toy_csv, "--output", out)
        tables.append(pl.read_parquet(out))
    first, second = (table["probability_AI_Generated"].to_numpy() for table in tables)
    # The merged weights are the dequantized base: logits of this toy differ by less than 0.1.
    assert np.abs(first - second).max() < 0.05


def write_inputs(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    paths = {suffix: folder / f"texts.{suffix}" for suffix in ("txt", "csv", "jsonl", "parquet")}
    table = pl.DataFrame({"number": [1, 2, 3], "text": TEXTS})
    paths["txt"].write_text("\n".join(TEXTS) + "\n\n", encoding="utf-8")
    with paths["csv"].open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["number", "text"], *table.rows()])
    table.write_ndjson(paths["jsonl"])
    table.write_parquet(paths["parquet"])
    return paths


def test_a_folder_that_is_not_there_is_no_text_beside_a_file_of_texts(run: Path, toy_csv: Path) -> None:
    assert "tiny-toi is no model folder" in call("predict", "tiny-toi", "--input", toy_csv, code=2)
    assert "is no model folder" in call("predict", run, "a text", "--input", toy_csv, code=2)


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl", "parquet", "-"])
def test_predict_reads_every_kind_of_input(run: Path, tmp_path: Path, suffix: str) -> None:
    source = "-" if suffix == "-" else write_inputs(tmp_path)[suffix]
    records = call_for_json("predict", run, "--input", source, stdin="\n".join(TEXTS))
    assert [record["text"] for record in records] == TEXTS
    assert [record["label"] for record in records][:2] == ["Human_Written", "AI_Generated"]


def test_predict_finds_the_newest_run_where_the_config_says(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(f'paths: {{root: "{run.parent}"}}\n')
    monkeypatch.chdir(tmp_path)
    assert call_for_json("predict", TEXTS[0])[0]["label"] == "Human_Written"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_predict_writes_every_kind_of_output(run: Path, tmp_path: Path, suffix: str) -> None:
    readers = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}
    call("predict", run, *TEXTS, "--output", tmp_path / f"out.{suffix}")
    table = readers[suffix](tmp_path / f"out.{suffix}")
    assert table["text"].to_list() == TEXTS
    assert table.columns == ["text", "label", "probability_AI_Generated", "probability_Human_Written"]


def test_predict_overwrites_a_file_by_force_only_and_says_so_before_it_scores(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr("qwenkit.modeling.predictor.Predictor.from_folder", None)
        printed = call("predict", run, *TEXTS, "--output", out, code=4)
    assert "overwrite it with --force" in printed and out.read_text() == "mine"
    call("predict", run, *TEXTS, "--output", out, "--force")
    assert pl.read_csv(out)["text"].to_list() == TEXTS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--input", "gone.txt"), "gone.txt does not exist"),
        (("--input", "texts.pdf"), "texts.pdf is no .txt"),
        (("--input", "texts.csv", "--text-column", "body"), 'text column "body" is not in'),
        (("--input", "-"), "nothing to predict"),
        (("text", "--output", "out.xlsx"), "out.xlsx must end in"),
    ],
)
def test_predict_names_what_is_wrong_with_its_files(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    write_inputs(tmp_path)
    (tmp_path / "texts.pdf").write_bytes(b"%PDF-1.7")
    monkeypatch.chdir(tmp_path)
    assert message in call("predict", run, *arguments, code=2, stdin="\n \n")

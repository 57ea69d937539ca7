"""dataset.normalize: what was trained on, evaluated, predicted and exported is the same text."""

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from qwenkit import QwenTrainingPipeline
from qwenkit.console import Console
from qwenkit.errors import ConfigError
from qwenkit.files import read_json
from qwenkit.modeling.predictor import Predictor
from tests.conftest import TINY_SETTINGS

RULES = ["strip_zero_width", "collapse_whitespace", "lower_case"]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def messy_csv(toy_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy rows with wild white space, capitals and invisible characters, and one text of nothing else."""
    rows = read_rows(toy_csv)
    for number, row in enumerate(rows):
        words = [word.upper() if (number + at) % 3 else word for at, word in enumerate(row["text"].split())]
        row["text"] = ["  ", "\n\n", "\u200b \t"][number % 3].join(words) + " \u200b"
    rows.append({"text": "\u2800\u200b\n", "label": "AI_Generated", "domain_name": "news"})
    path = tmp_path_factory.mktemp("messy") / "messy.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def normalized(messy_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> QwenTrainingPipeline:
    """A short run on the messy rows, exported."""
    pipeline = QwenTrainingPipeline(
        str(messy_csv),
        root=tmp_path_factory.mktemp("normalized"),
        overrides=(*TINY_SETTINGS, f"dataset.normalize={RULES}"),
        max_steps=6,
        console=Console(quiet=True),
    )
    pipeline.run()
    pipeline.export(["merged", "adapter"])
    return pipeline


def test_prepared_rows_hold_the_normalised_text(normalized: QwenTrainingPipeline, toy_csv: Path) -> None:
    clean = [row["text"].lower() for row in read_rows(toy_csv)]
    prepared = normalized.workspace.prepared("messy")
    rows = pl.concat([pl.read_parquet(prepared / f"{name}.parquet") for name in ("train", "test")])
    assert rows["text"].to_list() == [clean[row_id] for row_id in rows["row_id"]]


@pytest.mark.parametrize("folder", ["trained", "exported/merged", "exported/adapter"])
def test_raw_text_predicts_what_evaluation_of_the_prepared_row_did(
    normalized: QwenTrainingPipeline, messy_csv: Path, folder: str
) -> None:
    evaluated = pl.read_parquet(normalized.run_folder / "evaluated/after/predictions.parquet")
    raw = [read_rows(messy_csv)[row_id]["text"] for row_id in evaluated["row_id"]]
    predictor = Predictor.from_folder(normalized.run_folder / folder)
    assert predictor.bundle.normalisation == RULES
    predictions = predictor.predict(raw)
    expected = np.stack([evaluated[f"logit_{label}"].to_numpy() for label in predictions.labels], axis=1)
    # What merging into the decompressed 4-bit base moves at most; the other two are the same weights.
    tolerance = 0.003 if folder.endswith("merged") else 1e-4
    np.testing.assert_allclose(predictions.logits, expected, rtol=0, atol=tolerance)
    predictor.bundle.normalisation.clear()
    assert np.abs(predictor.predict(raw).logits - expected).max() > 0.1


def test_a_raw_file_is_evaluated_as_its_prepared_rows_are(
    normalized: QwenTrainingPipeline, messy_csv: Path, tmp_path: Path
) -> None:
    own = pl.read_parquet(normalized.run_folder / "evaluated/after/predictions.parquet")
    again = QwenTrainingPipeline(root=normalized.workspace.root, console=Console(quiet=True))
    again.load_trained(normalized.run_folder)
    again.run_post_evaluation(data=messy_csv, out=tmp_path / "raw")
    rows = pl.read_parquet(tmp_path / "raw/predictions.parquet")
    # The row of invisible characters alone is dropped, not an error.
    assert rows.height == len(read_rows(messy_csv)) - 1
    columns = [name for name in own.columns if name.startswith("logit_")]
    joined = own.join(rows, on="row_id", suffix="_raw")
    assert joined.height == own.height
    for name in columns:
        np.testing.assert_allclose(joined[name], joined[f"{name}_raw"], atol=1e-4)


def test_a_data_set_prepared_without_the_rules_is_scored_with_them(
    normalized: QwenTrainingPipeline, messy_csv: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_bytes(messy_csv.read_bytes())
    pipeline = QwenTrainingPipeline(str(other), root=normalized.workspace.root, console=Console(quiet=True))
    pipeline.load_trained(normalized.run_folder)
    pipeline.run_post_evaluation(out=tmp_path / "scored")
    prepared = pl.read_parquet(normalized.workspace.prepared("other") / "test.parquet")
    assert prepared["text"].str.contains(r"\s\s|\p{Lu}").all()
    scored = pl.read_parquet(tmp_path / "scored/predictions.parquet").sort("row_id")
    texts = prepared.sort("row_id")["text"].to_list()
    expected = Predictor.from_folder(normalized.run_folder / "trained").predict(texts)
    for label, logits in zip(expected.labels, expected.logits.T, strict=True):
        np.testing.assert_allclose(scored[f"logit_{label}"].to_numpy(), logits, rtol=0, atol=1e-4)


def test_a_raid_file_is_scored_with_the_rules_too(
    normalized: QwenTrainingPipeline, messy_csv: Path, tmp_path: Path
) -> None:
    texts = [row["text"] for row in read_rows(messy_csv)[:-1]] + ["\u200b \n\u200b"]
    ids = [f"id-{number}" for number in range(len(texts))]
    pl.DataFrame({"id": ids, "generation": texts}).write_csv(tmp_path / "test.csv")
    again = QwenTrainingPipeline(root=normalized.workspace.root, console=Console(quiet=True))
    again.load_trained(normalized.run_folder)
    again.write_raid_submission(tmp_path / "test.csv", out=tmp_path / "raid")
    ranks = np.array([one["score"] for one in read_json(tmp_path / "raid/predictions.json")])
    # The last is invisible characters alone: nothing that could be scored is left of it.
    assert ranks[-1] == 0.0
    expected = Predictor.from_folder(normalized.run_folder / "trained").predict(texts[:-1])
    scores = expected.logits[:, 0] - expected.logits[:, 1]
    # In batches of other sizes the last bits differ, so neighbours may change places.
    assert spearmanr(ranks[:-1], scores).statistic > 0.9999


def test_the_card_of_an_export_names_the_rules(normalized: QwenTrainingPipeline) -> None:
    card = (normalized.run_folder / "exported/merged/README.md").read_text()
    assert "## Text normalisation" in card
    assert card.index("`strip_zero_width`") < card.index("`collapse_whitespace`") < card.index("`lower_case`")


def test_an_unknown_rule_is_an_error_of_the_config_with_its_place(tmp_path: Path, messy_csv: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text("dataset:\n  normalize: [lower_cse]\n")
    with pytest.raises(ConfigError, match=r"(?s)my\.yaml has 1 problem.*line 2.*did you mean lower_case\?"):
        QwenTrainingPipeline(str(messy_csv), config_path=config).load_config()

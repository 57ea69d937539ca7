"""From a model and a RAID file to a submission for its leaderboard, scored too where the file has labels."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.data.csv_stream import read_header, stream_csv
from qwenkit.errors import ConfigError, DataError
from qwenkit.evaluation.raid import COLUMNS, describe_results, normalise_ranks, run_protocol
from qwenkit.files import hash_file, write_json
from qwenkit.metrics import log_odds
from qwenkit.modeling.predictor import predict_logits
from qwenkit.ranks import find_ranks
from qwenkit.runs import Workspace
from qwenkit.saved import SavedModel
from qwenkit.stages import EVALUATE, TRAIN, StagePlan
from qwenkit.steps.bookkeeping import Bookkeeper
from qwenkit.steps.scoring import GiveModel
from qwenkit.text.normalize import normalize_text
from qwenkit.tokens.encoding import encode_texts

if TYPE_CHECKING:
    from qwenkit.modeling.bundle import Bundle

ID, TEXT = "id", "generation"
# As pandas reads them, with which the leaderboard does; an empty field is null already.
NO_VALUES = ["", "nan", "NaN"]


def submit_to_raid(
    path: Path,
    *,
    saved: SavedModel,
    give_model: GiveModel,
    bundle: "Bundle",
    out: Path | None,
    detector_name: str | None,
    contact: str | None,
    config: Config,
    workspace: Workspace,
    books: Bookkeeper,
    console: Console,
) -> None:
    """Score a RAID file, unless that is up to date, and publish what the leaderboard takes.

    Args:
        path: RAID's test.csv (id and generation), or train.csv and extra.csv, which have the labels too.
        out: Folder for the results, instead of evaluated/ in the run.

    Raises:
        ConfigError: The model has more than two classes.
        DataError: The file is no RAID file.
    """
    name = detector_name or saved.title
    plan = books.plan(
        EVALUATE,
        out or saved.evaluation_folder(workspace, f"raid-{path.stem}"),
        config=config,
        inputs={TRAIN.name: saved.fingerprint},
        identity={
            "raid": hash_file(path) if path.is_file() else None,
            "detector_name": name,
            "contact": contact,
        },
    )
    console.header("evaluate", f"{saved.folder} on {path} (RAID)")
    if out is not None:
        books.refuse_other_results(plan)
    if books.must_make(plan):
        metadata = describe_submission(name, contact, console=console)
        _publish(plan, path, metadata, give_model=give_model, bundle=bundle, config=config, console=console)


def _publish(
    plan: StagePlan,
    path: Path,
    metadata: Mapping[str, str],
    *,
    give_model: GiveModel,
    bundle: "Bundle",
    config: Config,
    console: Console,
) -> None:
    """Score every text of a RAID file and publish predictions.json, metadata.json and maybe results.json.

    Where several ranks work, all read the file and score their share of each block, and the main one writes.
    """
    if len(bundle.labels) != 2:
        raise ConfigError(f"RAID asks human or machine; this model has {len(bundle.labels)} classes.")
    model, tokenizer = give_model()
    scored = [_score_block(block, model, tokenizer, bundle, config) for block in read_raid(path, console)]
    rows = pl.concat(scored)
    if not rows.height:
        raise DataError(f"{path} has a header but no rows.")
    if rows["id"].n_unique() < rows.height:
        raise DataError(f"{path} repeats an id: {rows['id'].filter(rows['id'].is_duplicated())[0]}.")
    if bundle.positive_label.lower().startswith("human"):
        console.warn(f"higher scores mean {bundle.positive_label} here; RAID wants them to mean machine.")
    unreadable = int(rows["score"].is_null().sum())
    if unreadable:
        console.warn(f"texts that are empty, ranked as the least machine-like: {unreadable:,}.")
    ranked = rows.with_columns(
        pl.Series("score", normalise_ranks(rows["score"].fill_null(-np.inf).to_numpy()))
    )

    def write() -> None:
        with plan.publish(replace=True) as staging:
            write_json(staging.folder / "metadata.json", metadata)
            write_json(staging.folder / "predictions.json", ranked.select("id", "score").to_dicts())
            if set(COLUMNS) <= set(rows.columns):
                found = run_protocol(ranked)
                write_json(staging.folder / "results.json", describe_results(metadata, found))
                _show(console, found)
            staging.counts["rows"] = rows.height

    find_ranks().lead(write)
    console.success(f"wrote {plan.folder}")


def describe_submission(detector_name: str, contact: str | None, *, console: Console) -> dict[str, str]:
    """Fill metadata.json: the leaderboard wants these three names and refuses any that it does not know."""
    if not contact:
        console.warn("the leaderboard wants to know whom to ask: fill in contact_info of metadata.json.")
    return {
        "date_released": datetime.now(UTC).date().isoformat(),
        "detector_name": detector_name,
        "contact_info": contact or "",
    }


def read_raid(path: Path, console: Console) -> Iterator[pl.DataFrame]:
    """Read a RAID file block by block, so that 1.5 GB of text never stand in memory at once.

    Raises:
        DataError: It is missing, or has no column id or generation.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file; RAID's are at https://dataset.raid-bench.xyz/test.csv.")
    names = read_header(path)
    missing = [name for name in (ID, TEXT) if name not in names]
    if missing:
        raise DataError(
            f'{path} is no RAID file: it lacks the column "{missing[0]}"; it has: {", ".join(names)}.'
        )
    wanted = [ID, TEXT, *(name for name in COLUMNS if set(COLUMNS) <= set(names))]
    total = max(path.stat().st_size, 1)
    with console.progress(f"scoring {path.name}", total=total, unit="bytes") as bar:
        for block in stream_csv(path, columns=wanted, on_read=bar.advance):
            yield block.with_columns(pl.all().replace(NO_VALUES, None))


def _score_block(
    block: pl.DataFrame, model: Any, tokenizer: Any, bundle: "Bundle", config: Config
) -> pl.DataFrame:
    """Give id, score (log-odds of the positive class; null for an empty text) and the label columns."""
    texts = [normalize_text(text or "", bundle.normalisation) for text in block[TEXT].to_list()]
    has_text = np.array([bool(text.strip()) for text in texts], dtype=bool)
    texts = [text for text in texts if text.strip()]
    scores = np.full(block.height, np.nan)
    if texts:
        input_ids = encode_texts(
            texts,
            tokenizer=tokenizer,
            max_length=bundle.max_length,
            truncation=bundle.tokenizer.truncation,
        )
        per_device = config.training.per_device_eval_batch_size
        logits = predict_logits(
            model,
            input_ids,
            pad_token_id=bundle.pad_token_id,
            batch_tokens=config.evaluation.batch_tokens or per_device * bundle.max_length,
            dtype=bundle.dtype,
            ranks=find_ranks(),
        )
        scores[has_text] = log_odds(logits, bundle.labels.index(bundle.positive_label))
    return block.drop(TEXT).with_columns(pl.Series("score", scores).fill_nan(None))


def _show(console: Console, found: dict[str, Any]) -> None:
    """Print the leaderboard's own numbers, by domain, over all attacks and without any."""
    rows = []
    for record in found["scores"]:
        if not (record["model"] == record["decoding"] == record["repetition_penalty"] == "all"):
            continue
        if record["attack"] in ("all", "none"):
            rates = [
                "–" if rate is None else f"{rate['accuracy']:.1%}" for rate in record["accuracy"].values()
            ]
            attack = "none" if record["attack"] == "none" else "with attacks"
            rows.append([record["domain"], attack, *rates, f"{record['auroc']:.4f}"])
    targets = [f"TPR at FPR {float(target):.0%}" for target in found["thresholds"]]
    console.table("As the leaderboard scores it", ["domain", "attacks", *targets, "AUROC"], rows)

"""Repos named like the real ones, but tiny: a random Qwen3 with a tokenizer, and the RAID-derived sets."""

import random
from pathlib import Path

import polars as pl

from qwenkit.data.demo.corpus import read_corpus
from qwenkit.data.sources import ALIASES
from tests.hub.tiny_model import write_model

MODEL = "Qwen/Qwen3-0.6B"
DATASET = ALIASES["10k"]
ROWS = {"train": 320, "validation": 40, "test": 40}
LENGTH_BUCKETS = ((200, "short"), (600, "medium"))


def write_hub(folder: Path) -> Path:
    """Lay out models/ and datasets/ as `serve_hub` wants them: what the README's commands ask the hub for."""
    splits = make_splits()
    write_model(folder / "models" / MODEL, splits["train"]["text"].to_list())
    for alias, repo_id in ALIASES.items():
        write_dataset(folder / "datasets" / repo_id, splits, source=alias)
    return folder


def make_splits(*, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Take passages of the demo corpus, and as the machine class others with their words in random order."""
    dice = random.Random(seed)
    passages = dice.sample(read_corpus(), sum(ROWS.values()))
    rows = []
    for index, passage in enumerate(passages):
        words = passage.text.split()
        label, model = [("Human_Written", "human"), ("AI_Generated", "shuffler")][index % 2]
        text = " ".join(dice.sample(words, len(words))) if index % 2 else passage.text
        rows.append({"domain_name": passage.domain, "model": model, "text": text, "label": label})
    frame = pl.DataFrame(rows)
    starts = {"train": 0, "validation": ROWS["train"], "test": ROWS["train"] + ROWS["validation"]}
    return {name: frame.slice(start, ROWS[name]) for name, start in starts.items()}


def write_dataset(folder: Path, splits: dict[str, pl.DataFrame], *, source: str) -> None:
    """Write three Parquet splits with the columns of the RAID-derived sets."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A small copy\n")
    length = pl.col("text").str.len_chars()
    bucket = pl.lit("long")
    for limit, name in reversed(LENGTH_BUCKETS):
        bucket = pl.when(length < limit).then(pl.lit(name)).otherwise(bucket)
    for split, rows in splits.items():
        table = rows.with_columns(length_bucket=bucket, text_length=length, source=pl.lit(source))
        table.write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")

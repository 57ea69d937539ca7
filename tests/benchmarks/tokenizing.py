"""How fast text becomes ids with a vocabulary of Qwen's size: against datasets.map and the bare tokenizer."""

import random
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import psutil

from qwenkit.console import Console
from qwenkit.data.demo import make_demo_rows
from qwenkit.tokens.encoding import open_encoder
from qwenkit.tokens.tokenizer import SPECIAL_TOKENS, train_tokenizer
from tests.benchmarks.near_duplicates import read_passages

# Qwen3's own: 151,643 byte-level tokens, then the special ones.
VOCAB_SIZE = 151_643 + len(SPECIAL_TOKENS)
TRAINING_BYTES = 64_000_000
MEASURED_BYTES = 24_000_000
MAX_LENGTH = 384


def benchmark_tokenizing() -> Iterator[dict[str, Any]]:
    """Encode the same rows three ways, in turn; the ids are compared row by row.

    The vocabulary is no model's: it is trained on the sources of Python and of the installed packages and on
    the demo's passages, to Qwen's size and with Qwen's way to split. Rows are the demo's passages and pieces
    of other sources, 1,750 characters each.
    """
    seen, unseen = read_sources()
    tokenizer = train_tokenizer([*seen, *read_passages()], vocab_size=VOCAB_SIZE, max_length=MAX_LENGTH)
    passages = make_demo_rows()["train"]["text"].to_list()
    pieces = [text[at : at + 1_750] for text in unseen for at in range(0, len(text), 1_750)]
    texts = [text for text in (*passages, *pieces) if text.strip()]
    sizes = pl.Series(texts).str.len_bytes().cum_sum()
    texts = texts[: int(sizes.search_sorted(MEASURED_BYTES))]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rows = pl.DataFrame({"row_id": range(len(texts)), "text": texts, "label_id": [0] * len(texts)})
    facts = {"megabytes": round(megabytes, 1), "rows": len(texts), "vocabulary": len(tokenizer)}

    stock, by_map = measure(lambda: _map(rows, tokenizer))
    bare, by_tokenizer = measure(lambda: _call(texts, tokenizer))
    # Opening compares ids and starts the processes: once a run, whatever the size, so it is told apart.
    started = time.perf_counter()
    with open_encoder([rows], tokenizer=tokenizer, limit=MAX_LENGTH) as encoder:
        assert encoder.choice.is_fast, encoder.choice.reason
        opening = time.perf_counter() - started
        encode = lambda: list(encoder.encode(rows, console=Console(quiet=True), description=""))  # noqa: E731
        encode()
        batches, ours = measure(encode)
    ids = [row for batch in batches for row in batch.column("input_ids").to_pylist()]
    assert ids == stock["input_ids"][:] == bare
    for name, reference in (("datasets.map", by_map), ("the bare tokenizer", by_tokenizer)):
        yield {
            "name": f"tokenizing against {name}",
            "value": round(megabytes / ours["seconds"], 2),
            "unit": "MB/s",
            "reference": round(megabytes / reference["seconds"], 2),
            "ratio": round(reference["seconds"] / ours["seconds"], 2),
            # Other work on the machine lengthens the seconds more than these.
            "cpu_ratio": round(reference["cpu_seconds"] / ours["cpu_seconds"], 2),
            "cpu_seconds": round(ours["cpu_seconds"], 1),
            "opening_seconds": round(opening, 1),
            **facts,
        }


def read_sources() -> tuple[list[str], list[str]]:
    """Read the sources of Python and the installed packages, part to learn from, part to encode."""
    folders = sysconfig.get_paths()
    paths = {path for name in ("stdlib", "platlib") for path in Path(folders[name]).rglob("*.py")}
    texts = [path.read_text(encoding="utf-8", errors="ignore") for path in sorted(paths)]
    # The same mix of packages on both sides, whatever order they come in.
    random.Random(0).shuffle(texts)
    seen, unseen = texts[::2], texts[1::2]
    while sum(map(len, seen)) > TRAINING_BYTES:
        del seen[-100:]
    return seen, unseen


def measure(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Give a call's result, its seconds, and the CPU seconds of this process and of those it started."""
    started, cpu = time.perf_counter(), _cpu_seconds()
    result = call()
    return result, {"seconds": time.perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu}


def _cpu_seconds() -> float:
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children())]
    return float(sum(each.user + each.system for each in times))


def _map(rows: pl.DataFrame, tokenizer: Any) -> datasets.Dataset:
    def encode(batch: dict[str, list]) -> dict[str, list]:
        return {"input_ids": tokenizer(batch["text"], truncation=True, max_length=MAX_LENGTH)["input_ids"]}

    datasets.disable_progress_bars()
    given = datasets.Dataset(rows.to_arrow(), fingerprint="rows")
    return given.map(encode, batched=True, remove_columns=given.column_names)


def _call(texts: list[str], tokenizer: Any) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return ids

"""How prepare grows: documents a second and peak memory on synthetic sets, each in a process of its own.

Run by `make bench-data`, or `python -m tests.benchmarks.scale 50000 100000`.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.data.documents import make_words

SIZES = (50_000, 100_000, 200_000)
EXACT_SHARE, NEAR_SHARE = 0.05, 0.1
VOCABULARY = 30_000
# 290 words of 5 letters and a space are 1,750 characters.
MEAN_WORDS = 290


def make_set(n: int, *, seed: int = 0) -> pl.DataFrame:
    """Make up a labelled set of nine domains with 5 % exact and 10 % near-duplicates, in random order.

    Near-duplicates have 2 to 25 % of their words replaced.
    """
    rng = np.random.default_rng(seed)
    words = np.array(make_words(VOCABULARY, rng))
    chances = 1 / (np.arange(VOCABULARY) + 2.7)
    sums = np.cumsum(chances / chances.sum())

    def draw(count: int) -> np.ndarray:
        return words[np.searchsorted(sums, rng.random(count))]

    fresh = round(n * (1 - EXACT_SHARE - NEAR_SHARE))
    texts = [" ".join(draw(int(rng.integers(MEAN_WORDS // 2, MEAN_WORDS * 3 // 2)))) for _ in range(fresh)]
    texts += [texts[place] for place in rng.integers(fresh, size=round(n * EXACT_SHARE))]
    while len(texts) < n:
        copy = np.array(texts[int(rng.integers(fresh))].split())
        is_replaced = rng.random(len(copy)) < rng.choice([0.02, 0.1, 0.25])
        copy[is_replaced] = draw(int(is_replaced.sum()))
        texts.append(" ".join(copy))
    # The label follows from the text, so that copies agree in it.
    labels = ["AI_Generated" if text.count("e") % 2 else "Human_Written" for text in texts]
    domains = [f"domain {len(text) % 9}" for text in texts]
    rows = pl.DataFrame({"text": texts, "label": labels, "domain_name": domains})
    return rows.sample(fraction=1, shuffle=True, seed=seed)


def measure_prepare(path: Path) -> dict[str, Any]:
    """Prepare a Parquet file as the command does, in this process: seconds, and its peak memory."""
    from qwenkit.config.schema_model import Dataset, Model
    from qwenkit.data.prepare import prepare_splits
    from qwenkit.data.prepared import write_prepared
    from qwenkit.data.sources import resolve_source

    started, cpu = time.perf_counter(), time.process_time()
    prepared = prepare_splits(resolve_source(str(path)), model=Model(), dataset=Dataset())
    with tempfile.TemporaryDirectory() as folder:
        write_prepared(Path(folder), prepared)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "groups": prepared.groups.groups,
        "kept": prepared.groups.rows,
    }


def run(sizes: list[int]) -> None:
    """Print a line a size, then the exponents of growth between the smallest and the largest."""
    results = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "synthetic.parquet"
            make_set(n).write_parquet(path)
            command = [sys.executable, "-m", "tests.benchmarks.scale", "--measure", str(path)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results.append(json.loads(printed))
        rate = n / results[-1]["seconds"]
        first = sizes[0] / results[0]["seconds"]
        write(
            name=f"prepare {n}", value=round(rate), unit="documents/s", reference=round(first), **results[-1]
        )
    if len(sizes) > 1:
        for measure in ("seconds", "cpu_seconds", "peak_bytes"):
            exponent = log(results[-1][measure] / results[0][measure]) / log(sizes[-1] / sizes[0])
            write(
                name=f"prepare, growth of {measure}", value=round(exponent, 3), unit="exponent", reference=1.1
            )


def write(*, value: float, reference: float, **facts: Any) -> None:
    record = {**facts, "value": value, "reference": reference, "ratio": round(value / reference, 3)}
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        sys.stdout.write(json.dumps(measure_prepare(Path(sys.argv[2]))))
    else:
        run([int(size) for size in sys.argv[1:]] or list(SIZES))

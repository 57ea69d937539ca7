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
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.data.documents import make_words

SIZES = (50_000, 100_000, 200_000)
EXACT_SHARE, NEAR_SHARE = 0.05, 0.1
VOCABULARY = 30_000
# 290 words of 5 letters and a space are 1,750 characters.
MEAN_WORDS = 290
ROWS_AT_ONCE = 20_000
MOST_ORIGINALS = 100_000
SCHEMA = pa.schema([(name, pa.large_string()) for name in ("text", "label", "domain_name")])


def write_set(path: Path, n: int, *, seed: int = 0) -> int:
    """Make up a labelled set of nine domains with 5 % exact and 10 % near-duplicates, and write it part by part.

    Near-duplicates have 2 to 25 % of their words replaced. Copies are of texts from anywhere before them.

    Returns:
        Bytes of all texts.
    """
    rng = np.random.default_rng(seed)
    words = pa.array(make_words(VOCABULARY, rng), pa.large_string())
    chances = 1 / (np.arange(VOCABULARY) + 2.7)
    sums = np.cumsum(chances / chances.sum())

    def draw(count: int) -> np.ndarray:
        return np.searchsorted(sums, rng.random(count)).astype(np.uint16)

    def change_words(document: np.ndarray) -> np.ndarray:
        is_replaced = rng.random(len(document)) < rng.choice([0.02, 0.1, 0.25])
        return np.where(is_replaced, draw(len(document)), document)

    originals: list[np.ndarray] = []
    n_bytes = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, n, ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, n - start)
            n_exact, n_near = round(size * EXACT_SHARE), round(size * NEAR_SHARE)
            lengths = rng.integers(MEAN_WORDS // 2, MEAN_WORDS * 3 // 2, size=size - n_exact - n_near)
            documents = np.split(draw(int(lengths.sum())), np.cumsum(lengths)[:-1])
            _remember(originals, documents, rng)
            documents += [originals[place] for place in rng.integers(len(originals), size=n_exact)]
            documents += [
                change_words(originals[place]) for place in rng.integers(len(originals), size=n_near)
            ]
            table = _write_out([documents[place] for place in rng.permutation(size)], words)
            n_bytes += pc.sum(pc.binary_length(table["text"])).as_py()
            writer.write_table(table)
    return n_bytes


def _write_out(documents: list[np.ndarray], words: pa.Array) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum([len(document) for document in documents])])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), words.take(pa.array(np.concatenate(documents))))
    texts = pc.binary_join(lists, pa.scalar(" ", pa.large_string()))
    # Label and domain follow from the text, so that copies agree in them.
    is_odd = pc.count_substring(texts, "e").to_numpy() % 2 == 1
    labels = np.where(is_odd, "AI_Generated", "Human_Written")
    domains = np.char.add("domain ", (pc.utf8_length(texts).to_numpy() % 9).astype(str))
    return pa.table([texts, pa.array(labels), pa.array(domains)], names=SCHEMA.names).cast(SCHEMA)


def _remember(originals: list[np.ndarray], documents: list[np.ndarray], rng: np.random.Generator) -> None:
    """Keep a bounded number of documents from all over the set, for copies to be made of."""
    originals += documents
    while len(originals) > MOST_ORIGINALS:
        place = int(rng.integers(len(originals)))
        originals[place] = originals[-1]
        originals.pop()


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

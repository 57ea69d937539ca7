"""How prepare and tokenize grow: documents a second and peak memory of the commands on synthetic sets.

Run by `make bench-data`, or `python -m tests.benchmarks.scale 50000 2000000` (`--in FOLDER` for files of some
gigabytes, and keeps the synthetic sets there for the next time).
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qwenkit.tokens.tokenizer import train_tokenizer
from tests.benchmarks.near_duplicates import read_passages
from tests.data.documents import make_words

SIZES = (50_000, 100_000, 200_000, 400_000)
EXACT_SHARE, NEAR_SHARE = 0.05, 0.1
VOCABULARY = 30_000
# 290 words of 5 letters and a space are 1,750 characters.
MEAN_WORDS = 290
ROWS_AT_ONCE = 20_000
MOST_ORIGINALS = 100_000
POLL_SECONDS = 0.1
SCHEMA = pa.schema([(name, pa.large_string()) for name in ("text", "label", "domain_name")])


def write_set(path: Path, n: int, *, seed: int = 0) -> int:
    """Make up a set of nine domains with 5 % exact and 10 % near-duplicates, and write it part by part.

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


def measure_command(*arguments: str) -> dict[str, float]:
    """Run a qwenkit command: seconds, and the most memory that it and its processes held together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "qwenkit", *arguments], stdout=subprocess.DEVNULL)
    peak_bytes = 0
    while process.poll() is None:
        peak_bytes = max(peak_bytes, sum(map(_resident_bytes, [process, *process.children(recursive=True)])))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"qwenkit {' '.join(arguments)} failed with exit code {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_bytes": peak_bytes,
    }


def _resident_bytes(process: psutil.Process) -> int:
    """Give what a process holds by itself; pages of a mapped file are the system's to take back."""
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return int(memory.rss - memory.shared)


def run(sizes: list[int], folder: Path) -> None:
    """Print two lines a size, then the exponents of growth between the smallest and the largest."""
    results: dict[str, list[dict[str, float]]] = {"prepare": [], "tokenize": []}
    tokenizer = folder / "tokenizer"
    train_tokenizer(read_passages(), vocab_size=8_192, max_length=384).save_pretrained(tokenizer)
    for n in sizes:
        path = folder / f"synthetic-{n}.parquet"
        if not path.exists():
            write_set(path, n)
        common = ["--root", str(folder / "output"), "--quiet"]
        tokens = ["--set", f"tokenization.tokenizer={tokenizer}"]
        for command, arguments in (("prepare", []), ("tokenize", tokens)):
            found = measure_command(command, "--dataset", str(path), *common, *arguments)
            results[command].append(found)
            rate, first = n / found["seconds"], sizes[0] / results[command][0]["seconds"]
            write(
                name=f"{command} {n}", value=round(rate), unit="documents/s", reference=round(first), **found
            )
        shutil.rmtree(folder / "output")
    if len(sizes) > 1:
        for command, found in results.items():
            for measure in ("seconds", "cpu_seconds", "peak_bytes"):
                exponent = log(found[-1][measure] / found[0][measure]) / log(sizes[-1] / sizes[0])
                name = f"{command}, growth of {measure}"
                write(name=name, value=round(exponent, 3), unit="exponent", reference=1.1)


def write(*, value: float, reference: float, **facts: Any) -> None:
    record = {**facts, "value": value, "reference": reference, "ratio": round(value / reference, 3)}
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--in", dest="folder", type=Path)
    chosen = parser.parse_args()
    if chosen.folder:
        run(chosen.sizes, chosen.folder)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            run(chosen.sizes, Path(temporary))

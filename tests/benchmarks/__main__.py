"""Benchmarks, one JSON object a line: name, value, unit, reference, ratio. Run by `make bench`."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from qwenkit.data.demo import make_demo_rows
from qwenkit.tokens.encoding import encode_texts
from qwenkit.tokens.tokenizer import train_tokenizer
from tests.benchmarks.bootstrap import benchmark_intervals
from tests.benchmarks.near_duplicates import benchmark_against_brute_force, benchmark_attacks

REPETITIONS = 3


def measure(call: Callable[[], Any]) -> float:
    """Give the median seconds of some calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def benchmark_tokenizing() -> Iterator[dict[str, Any]]:
    """Compare our encoder with the stock tokenizer's own call on the demo's train split; ids are equal."""
    texts = make_demo_rows()["train"]["text"].to_list()
    tokenizer = train_tokenizer(texts, vocab_size=4096, max_length=160)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6

    def stock() -> list[list[int]]:
        return tokenizer(texts, truncation=True, max_length=160)["input_ids"]

    def ours() -> list[list[int]]:
        return encode_texts(texts, tokenizer=tokenizer, max_length=160)

    assert stock() == ours()
    reference, value = megabytes / measure(stock), megabytes / measure(ours)
    yield {
        "name": "tokenizing",
        "value": round(value, 2),
        "unit": "MB/s",
        "reference": round(reference, 2),
        "ratio": round(value / reference, 2),
    }


if __name__ == "__main__":
    for benchmark in (
        benchmark_tokenizing,
        benchmark_against_brute_force,
        benchmark_attacks,
        benchmark_intervals,
    ):
        for result in benchmark():
            sys.stdout.write(json.dumps(result) + "\n")

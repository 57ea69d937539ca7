"""Benchmarks, one JSON object a line: name, value, unit, reference, ratio. Run by `make bench`."""

import json
import sys

from tests.benchmarks.bootstrap import benchmark_intervals
from tests.benchmarks.near_duplicates import benchmark_against_brute_force, benchmark_attacks
from tests.benchmarks.tokenizing import benchmark_tokenizing

if __name__ == "__main__":
    for benchmark in (
        benchmark_tokenizing,
        benchmark_against_brute_force,
        benchmark_attacks,
        benchmark_intervals,
    ):
        for result in benchmark():
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()

"""Runs the leaderboard's own run_evaluation on cases; needs raid-bench and nothing of qwenkit.

Usage: python raid_reference.py CASES.json RESULTS.json, in the environment that `make test-raid` builds.
"""

import json
import sys
import warnings
from pathlib import Path

import pandas as pd
from raid import run_evaluation


def evaluate(case: dict) -> dict:
    """Give the leaderboard's result, or the error that it fails with."""
    results = [{"id": row["id"], "score": row["score"]} for row in case["rows"] if "score" in row]
    columns = [{name: value for name, value in row.items() if name != "score"} for row in case["rows"]]
    try:
        return run_evaluation(results, pd.DataFrame(columns), **case["options"])
    except (ValueError, KeyError, ZeroDivisionError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    cases = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([evaluate(case) for case in cases]))

"""How RAID is read: rows a second and peak memory of a sample of one size from files of two sizes.

Run by `make bench-raid`, or `python -m tests.benchmarks.raid_source 100000 200000`.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.scale import write
from tests.data.raid_rows import write_raid_csv

SIZES = (200_000, 1_000_000)
SAMPLE_ROWS = 20_000
# 290 words are RAID's 1,750 characters.
MEAN_WORDS = 290


def measure_reading(path: Path) -> dict[str, Any]:
    """Read a sample as prepare does, in this process: seconds and peak memory."""
    from qwenkit.data.raid import read_raid

    started, cpu = time.perf_counter(), time.process_time()
    raw = read_raid(path, max_rows=SAMPLE_ROWS, seed=42)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "sampled_text_bytes": int(raw.splits["all"]["text"].str.len_bytes().sum()),
    }


def call(*words: str) -> str:
    command = [sys.executable, "-m", "tests.benchmarks.raid_source", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run(sizes: list[int]) -> None:
    """Print a line for the speed and one for the memory of each size; the first size is the reference."""
    results = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.csv"
            # Each in a process of its own: a child's peak begins at that of its parent.
            call("--write", str(path), str(n))
            printed = call("--measure", str(path))
            results.append({**json.loads(printed), "file_bytes": path.stat().st_size})
        found, first = results[-1], results[0]
        write(
            name=f"a sample of {SAMPLE_ROWS:,} from RAID's {n:,} rows",
            value=round(n / found["seconds"]),
            unit="rows/s",
            reference=round(sizes[0] / first["seconds"]),
            **found,
        )
        write(
            name=f"the same, peak memory at {n:,} rows",
            value=found["peak_bytes"],
            unit="bytes",
            reference=first["peak_bytes"],
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        sys.stdout.write(json.dumps(measure_reading(Path(sys.argv[2]))))
    elif sys.argv[1:2] == ["--write"]:
        write_raid_csv(Path(sys.argv[2]), int(sys.argv[3]), mean_words=MEAN_WORDS)
    else:
        run([int(size) for size in sys.argv[1:]] or list(SIZES))

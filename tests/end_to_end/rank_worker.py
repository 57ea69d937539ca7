"""One rank of a launcher: runs the commands of a JSON file one after the other, in one process.

`rank_worker.py COMMANDS.json RESULTS.json`; each rank adds its number to the name of the results. One process
for all commands, because the libraries take seconds to import.
"""

import json
import os
import sys
from pathlib import Path

from tests.end_to_end.command_worker import run_command
from tests.sharding_on_cpu import offer_fsdp_on_cpu

if __name__ == "__main__":
    offer_fsdp_on_cpu()
    commands, results = (Path(name) for name in sys.argv[1:])
    outcomes = [run_command(words) for words in json.loads(commands.read_text(encoding="utf-8"))]
    name = f"{results.stem}-{os.environ.get('RANK', '0')}.json"
    results.with_name(name).write_text(json.dumps(outcomes), encoding="utf-8")

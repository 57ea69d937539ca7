"""Finds the folder of a run on several ranks, of which all but the main one come when it is taken."""

import time
from pathlib import Path

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.ranks import find_ranks
from qwenkit.runs import Workspace
from qwenkit.stages import TRAIN, StagePlan
from qwenkit.steps.chosen_run import find_run_folder

find_ranks().meet()
lock = Path("output/qwen3-0.6b-toy/.lock")
while not find_ranks().is_main and not lock.exists():
    time.sleep(0.01)
plan = StagePlan(TRAIN, Path(), {}, {}, {"base": {"kind": "hub"}, "dataset": "toy"}, 0)
options = {"is_forced": False, "known": None, "console": Console()}
folder = find_run_folder(plan, config=Config(), workspace=Workspace(Path("output")), **options)
folder.mkdir(parents=True, exist_ok=True)
(folder / ".lock").touch()

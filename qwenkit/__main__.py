"""`python -m qwenkit` and the `qwenkit` command."""

import os
import sys
import time
from contextlib import redirect_stdout

from qwenkit.cli.app import app
from qwenkit.ranks import find_ranks

# The launcher ends all ranks as soon as one has failed, so the one that says why must be the first.
HEAD_START_SECONDS = 10


def main() -> None:
    """Run the command line; of several ranks, the main one alone shows help and wrong usage."""
    if find_ranks().is_main:
        app()
    else:
        sys.exit(_run_silently())


def _run_silently() -> int:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            return int(app(standalone_mode=False) or 0)
        except Exception as error:
            # Wrong usage, which the main rank meets too.
            if not hasattr(error, "exit_code"):
                raise
            time.sleep(HEAD_START_SECONDS)
            return int(error.exit_code)


if __name__ == "__main__":
    main()

"""A process that runs commands one after the other: a JSON request a line in, an outcome a line out.

Its own process, because the hub's libraries read HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE once, on import; the
same one for many commands, because the libraries take seconds to import.
"""

import json
import os
import sys
import time
import traceback
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from typer.testing import CliRunner

from qwenkit.cli.app import app


def run_command(words: list[str]) -> dict[str, Any]:
    """Call the command line as `qwenkit` would be."""
    result = CliRunner().invoke(app, words)
    is_told = isinstance(result.exception, SystemExit | None)
    trace = "" if is_told else "".join(traceback.format_exception(result.exception))
    return {"code": result.exit_code, "out": result.stdout, "err": result.stderr, "trace": trace}


def run_python(code: str) -> dict[str, Any]:
    """Execute a script."""
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            exec(compile(code, "<README>", "exec"), {"__name__": "__main__"})
    except BaseException:
        return {"code": 1, "out": printed.getvalue(), "err": "", "trace": traceback.format_exc()}
    return {"code": 0, "out": printed.getvalue(), "err": "", "trace": ""}


def main() -> None:
    """Answer until stdin closes; what libraries write to file descriptor 1 goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        started = time.monotonic()
        outcome = run_python(request["python"]) if "python" in request else run_command(request["words"])
        answers.write(json.dumps({**outcome, "seconds": time.monotonic() - started}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

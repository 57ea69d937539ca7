"""The processes that tokenize, seen from the one that starts them: batches go in and come back over pipes.

Plain child processes rather than multiprocessing's: these import nothing of the user's program, which may be
a script without a guard or a notebook, and they end with their input however the parent ends.
"""

import json
import os
import subprocess
import sys
import tempfile
from queue import SimpleQueue
from typing import IO, Any

import pyarrow as pa

from qwenkit.errors import DataError, ResourceError
from qwenkit.tokens.batches import REFUSAL, TEXT_SCHEMA

_SECONDS_TO_END = 5


class TokenizingProcesses:
    """So many processes; `encode` may be called from as many threads."""

    def __init__(self, n: int, settings: dict[str, Any]) -> None:
        """Start them.

        Args:
            settings: What BatchEncoder takes, and `tokenizer`: the content of tokenizer.json.
        """
        # In ASCII and without line breaks: one line.
        line = json.dumps(settings).encode() + b"\n"
        self._processes = [_Process(line) for _ in range(n)]
        self._free: SimpleQueue[_Process] = SimpleQueue()
        for process in self._processes:
            self._free.put(process)

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Have a free process encode a batch; waits for one.

        Raises:
            DataError: A text has nothing to read.
            ResourceError: The process was killed.
        """
        process = self._free.get()
        try:
            return process.encode(batch)
        finally:
            self._free.put(process)

    def stop(self) -> None:
        """End them all, finished or not."""
        for process in self._processes:
            process.stop()


class _Process:
    """One of them, and the two streams to and from it."""

    def __init__(self, settings: bytes) -> None:
        # Kept in a file: a pipe that nobody reads would fill up and block it.
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        # With -m alone a user's file in the working folder, say json.py, would stand in for a library.
        command = [sys.executable, "-P", "-m", "qwenkit.tokens.worker"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            # A notebook may have found qwenkit by a path of its own.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._settings: bytes | None = settings
        self._requests: Any = None
        self._replies: Any = None

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            reply, metadata = self._ask(batch)
        except (OSError, EOFError, StopIteration, pa.ArrowInvalid) as error:
            raise self._explain_end() from error
        if metadata and REFUSAL in metadata:
            raise DataError(metadata[REFUSAL].decode())
        return reply

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(_SECONDS_TO_END)
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:
                # What was not sent yet is of no use any more.
                continue

    def _ask(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Any]:
        stdin = self._process.stdin
        assert stdin is not None
        if self._settings is not None:
            # Here, and not at the start: processes that read theirs at once start side by side.
            stdin.write(self._settings)
            self._settings = None
            self._requests = pa.ipc.new_stream(stdin, TEXT_SCHEMA)
        self._requests.write_batch(batch)
        stdin.flush()
        if self._replies is None:
            self._replies = pa.ipc.open_stream(self._process.stdout)
        return self._replies.read_next_batch_with_custom_metadata()

    def _explain_end(self) -> Exception:
        """Say why it does not answer any more."""
        try:
            status = self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return RuntimeError("a process that tokenizes answers with something that is no batch.")
        if status < 0:
            return ResourceError(
                f"a process that tokenizes was killed (signal {-status}), most likely for lack of memory: "
                "set tokenization.num_workers to fewer, and run `qwenkit tokenize` again."
            )
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip()
        return RuntimeError(f"a process that tokenizes ended with status {status}:\n{said}")

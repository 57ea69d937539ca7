"""The process that tokenizes: batches of text from standard input, batches of ids to standard output.

Run by tokens/processes.py as `python -m qwenkit.tokens.worker`. It ends when its input does, so it never
outlives the process that started it.
"""

import json
import os
import signal
import sys

import pyarrow as pa
from tokenizers import Tokenizer

from qwenkit.errors import DataError
from qwenkit.tokens.backend import prepare_backend
from qwenkit.tokens.batches import ENCODED_SCHEMA, REFUSAL, BatchEncoder


def main() -> None:
    """Read the settings from the first line, then answer each batch with one batch."""
    # Ctrl-C reaches the whole group of processes; it is the parent's to handle, which then closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not get among the replies.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    settings = json.loads(requests.readline())
    backend = Tokenizer.from_str(settings.pop("tokenizer"))
    prepare_backend(backend)
    encoder = BatchEncoder(backend, **settings)
    nothing = pa.RecordBatch.from_pylist([], schema=ENCODED_SCHEMA)
    with pa.ipc.open_stream(requests) as reader, pa.ipc.new_stream(replies, ENCODED_SCHEMA) as writer:
        for batch in reader:
            try:
                writer.write_batch(encoder.encode(batch))
            except DataError as error:
                writer.write_batch(nothing, custom_metadata={REFUSAL: str(error).encode()})
            replies.flush()


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, pa.ArrowInvalid, OSError):
        # The parent is gone, or stopped in the middle of a batch: nobody waits for an answer.
        os._exit(1)

"""Disk or memory ran out: the many ways in which the libraries say so, told as one.

A full disk comes as OSError from Python, as SafetensorError with the words of the system, and as a bare
RuntimeError from torch, which only sees that a file is shorter than it should be.
"""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
# File systems keep a little back and give it out in blocks: a disk that is full still has some bytes.
FULL_DISK_FREE_BYTES = 1024 * 1024
_FULL_DISK_WORDS = ("No space left on device", "Disk quota exceeded")
_NO_MEMORY_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "[CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_MOST_LINKS = 10


def is_disk_full(error: BaseException, folder: Path | None = None) -> bool:
    """Tell whether an error, or one that led to it, is a full disk.

    Args:
        folder: Where was being written; a RuntimeError there counts too if next to nothing is free.
    """
    for link in _list_causes(error):
        if isinstance(link, OSError) and link.errno in FULL_DISK_ERRNOS:
            return True
        if any(words in str(link) for words in _FULL_DISK_WORDS):
            return True
        if folder is not None and type(link) is RuntimeError:
            return shutil.disk_usage(folder).free < FULL_DISK_FREE_BYTES
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, or one that led to it, is a lack of memory, of the machine or of a GPU."""
    return any(
        isinstance(link, MemoryError)
        or type(link).__name__ == "OutOfMemoryError"
        or (isinstance(link, RuntimeError) and any(words in str(link) for words in _NO_MEMORY_WORDS))
        for link in _list_causes(error)
    )


def _list_causes(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_MOST_LINKS):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__

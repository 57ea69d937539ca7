"""How the libraries say that disk or memory ran out."""

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest

from qwenkit.exhaustion import is_disk_full, is_out_of_memory

Usage = namedtuple("Usage", "total used free")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def wrap(error: BaseException) -> BaseException:
    """Raise another error while this one is handled, as libraries do."""
    try:
        try:
            raise error
        except BaseException:
            raise ValueError("writing failed")  # noqa: B904 - the hidden cause is what is tested
    except ValueError as outer:
        return outer


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, "x"),
        wrap(FULL),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_in_every_form(error: BaseException) -> None:
    assert is_disk_full(error)
    assert not is_out_of_memory(error)


def test_torchs_bare_error_counts_only_where_nothing_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 158720 vs 158612")
    assert not is_disk_full(error)
    assert not is_disk_full(error, tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(10**9, 10**9, 4096))
    assert is_disk_full(error, tmp_path)
    assert not is_disk_full(ValueError("a bug of ours"), tmp_path)


def test_other_errors_are_neither() -> None:
    for error in (FileNotFoundError(2, "x"), ValueError("space"), RuntimeError("size mismatch")):
        assert not is_disk_full(error)
        assert not is_out_of_memory(error)


def test_memory_that_ran_out_is_known_in_every_form() -> None:
    import torch

    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        wrap(MemoryError()),
    ):
        assert is_out_of_memory(error)
        assert not is_disk_full(error)


def test_a_real_lack_of_memory_is_known() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value), str(caught.value)

"""What the machine can do and what layers a model has, as plain values for the checks of the config."""

import os
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import torch
from torch import nn

from qwenkit.config.checks_before_training import Machine

# Of control groups, version 2; it reads "max" where there is no limit.
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def describe_machine() -> Machine:
    """Look at the device that training would use."""
    has_quantization = find_spec("bitsandbytes") is not None
    if not torch.cuda.is_available():
        return Machine(
            name="cpu",
            has_bf16=True,
            has_quantization=has_quantization,
            has_compiler=any(which(name) for name in (os.environ.get("CXX") or "g++", "clang++")),
        )
    return Machine(
        name=torch.cuda.get_device_name(),
        has_bf16=has_bf16(),
        is_gpu=True,
        has_quantization=has_quantization,
        has_compiler=find_spec("triton") is not None and _has_c_compiler(),
        has_liger=find_spec("liger_kernel") is not None,
    )


def has_bf16() -> bool:
    """Tell whether there is a GPU that computes in bfloat16; torch says so too of one that emulates it."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def _has_c_compiler() -> bool:
    """Look for what triton builds its launcher with, on each machine anew."""
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    return headers.is_file() and any(which(name) for name in (os.environ.get("CC") or "gcc", "clang"))


def find_device_bytes() -> int:
    """Give the memory of the device that training would use: the GPU's, else what this process may take."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return find_memory_bytes()


def find_memory_bytes() -> int:
    """Give the machine's memory, or the container's share of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if CONTAINER_LIMIT.is_file() and (limit := CONTAINER_LIMIT.read_text().strip()).isdigit():
        return min(physical, int(limit))
    return physical


def list_layers(model: Any) -> list[str]:
    """List the dotted names of a model's linear and embedding layers."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding) and name
    ]

"""Facts about the machine as plain values, and the checks that judge them."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from qwenkit.doctor import stack
from qwenkit.doctor.finding import Finding, fail, ok, warn
from qwenkit.errors import BusyError, ConfigError, ResourceError

GIB = 2**30
# The base, its cache, a few checkpoints and exports.
LEAST_DISK, ENOUGH_DISK = 1 * GIB, 10 * GIB
# Loading the libraries alone takes one.
LEAST_MEMORY, ENOUGH_MEMORY = 2 * GIB, 8 * GIB
DRIVER_SECONDS = 10


@dataclass(frozen=True)
class Gpu:
    """What torch and the driver say of the GPU.

    Attributes:
        driver: Version of the NVIDIA driver; None where there is none.
        torch_cuda: CUDA that torch was built with; None for a CPU build.
        name, bytes, has_bf16: Of the device that would train; name is None where torch sees none.
    """

    driver: str | None
    torch_cuda: str | None
    name: str | None = None
    bytes: int = 0
    has_bf16: bool = False


@dataclass(frozen=True)
class Machine:
    """Plain facts about this machine; `root` is where artifacts would go."""

    python: tuple[int, int]
    gpu: Gpu
    memory_bytes: int
    root: Path


def look_at_machine(root: Path) -> Machine:
    """Gather the facts; torch is asked, nothing is allocated on the GPU."""
    from qwenkit.modeling.device import find_memory_bytes

    return Machine(
        python=(sys.version_info.major, sys.version_info.minor),
        gpu=look_at_gpu(),
        memory_bytes=find_memory_bytes(),
        root=root,
    )


def look_at_gpu() -> Gpu:
    """Ask the driver and torch."""
    import torch

    from qwenkit.modeling.device import has_bf16

    driver = find_driver()
    if not torch.cuda.is_available():
        return Gpu(driver=driver, torch_cuda=torch.version.cuda)
    return Gpu(
        driver=driver,
        torch_cuda=torch.version.cuda,
        name=torch.cuda.get_device_name(),
        bytes=int(torch.cuda.get_device_properties(0).total_memory),
        has_bf16=has_bf16(),
    )


def find_driver() -> str | None:
    """Ask nvidia-smi for the driver's version."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else None


def check_python(machine: Machine) -> Finding:
    """Compare the interpreter with what qwenkit needs and was tested on."""
    found, tested = (".".join(map(str, version)) for version in (machine.python, stack.TESTED_PYTHON))
    if machine.python < stack.TESTED_PYTHON:
        return fail(f"Python {found}", f"use Python {tested} or later", ConfigError)
    if machine.python > stack.TESTED_PYTHON:
        return warn(f"Python {found}; the tests run on {tested}", f"use {tested} if something breaks")
    return ok(f"Python {found}")


def check_packages(machine: Machine) -> Finding:
    """Compare the direct dependencies with the tested stack."""
    packages = stack.list_packages()
    wrong = {p.name: "is missing" for p in packages if p.installed is None}
    wrong |= {p.name: f"{p.installed}, needs {p.required} or later" for p in packages if p.is_too_old}
    if wrong:
        return fail(stack.describe(wrong), f"pip install --upgrade {' '.join(wrong)}", ConfigError)
    other = {p.name: f"{p.installed}, tested {p.tested}" for p in packages if not p.is_tested}
    if other:
        versions = " ".join(f"{p.name}=={p.tested}" for p in packages if p.name in other and p.tested)
        return warn(stack.describe(other), f"if something breaks: pip install {versions}")
    return ok(f"{len(packages)} packages, all as tested")


def check_driver(machine: Machine) -> Finding:
    """Find the NVIDIA driver."""
    gpu = machine.gpu
    if gpu.driver is None and gpu.name is not None:
        return warn(
            "nvidia-smi does not answer, though torch sees a GPU", "install nvidia-smi to watch the GPU"
        )
    if gpu.driver is None:
        return warn("no NVIDIA driver", "install one if there is a GPU; tiny models and the demo need none")
    return ok(f"NVIDIA driver {gpu.driver}")


def check_cuda(machine: Machine) -> Finding:
    """See whether torch can use the driver that is there."""
    gpu = machine.gpu
    if gpu.name is not None:
        return ok(f"torch is built for CUDA {gpu.torch_cuda}")
    if gpu.driver is None:
        return ok("not needed without a driver")
    if gpu.torch_cuda is None:
        return fail(
            "a driver is there, but torch is built for CPUs only",
            "pip install --force-reinstall torch from https://pytorch.org for your CUDA",
            ConfigError,
        )
    return fail(
        f"torch is built for CUDA {gpu.torch_cuda}, which driver {gpu.driver} does not run",
        "update the driver, or install a torch for an older CUDA from https://pytorch.org",
        ConfigError,
    )


def check_gpu(machine: Machine) -> Finding:
    """Find a GPU that torch can use."""
    gpu = machine.gpu
    if gpu.name is None:
        return warn("no GPU that torch can use", "train the 0.6B model on one; a CPU would take days")
    return ok(f"{gpu.name}, {gpu.bytes / GIB:.0f} GiB")


def check_bf16(machine: Machine) -> Finding:
    """See whether the device computes in bfloat16."""
    gpu = machine.gpu
    if gpu.name is None:
        return ok("not needed: a CPU computes in float32")
    if not gpu.has_bf16:
        cure = "--set quantization.bnb_4bit_compute_dtype=float16 --set training.bf16=false"
        return warn(f"{gpu.name} has no bfloat16: it computes in float32, more slowly", cure)
    return ok(f"{gpu.name} computes in bfloat16")


def check_memory(machine: Machine) -> Finding:
    """Look at the machine's memory, or its container's."""
    found = f"{machine.memory_bytes / GIB:.1f} GiB of memory"
    if machine.memory_bytes < LEAST_MEMORY:
        return fail(found, f"give it {ENOUGH_MEMORY // GIB} GiB", ResourceError)
    if machine.memory_bytes < ENOUGH_MEMORY:
        return warn(found, f"have {ENOUGH_MEMORY // GIB} GiB for the 0.6B model; the demo needs less")
    return ok(found)


def check_disk(machine: Machine) -> Finding:
    """Look at the free space where artifacts would go."""
    place = _nearest_folder(machine.root)
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free for {machine.root}"
    if free < LEAST_DISK:
        return fail(found, "free some space, or choose another --root", ResourceError)
    if free < ENOUGH_DISK:
        return warn(found, f"have {ENOUGH_DISK // GIB} GiB for a base model and its checkpoints")
    return ok(found)


def check_root(machine: Machine) -> Finding:
    """Write a file where artifacts would go, and remove it."""
    place = _nearest_folder(machine.root)
    try:
        if place != machine.root and any(p.exists() and not p.is_dir() for p in machine.root.parents):
            raise NotADirectoryError("a part of the path is a file")
        if machine.root.exists() and not machine.root.is_dir():
            raise NotADirectoryError("it is a file")
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
    except OSError as error:
        return fail(
            f"{machine.root} cannot be written ({error.strerror or error})",
            "choose another --root",
            BusyError,
        )
    return ok(f"{machine.root} can be written")


def _nearest_folder(path: Path) -> Path:
    """Give the folder itself, or the nearest one above it that exists."""
    return next((p for p in (path, *path.absolute().parents) if p.is_dir()), Path(os.sep))

"""Plain files: hashed, read and written so that neither a kill nor a full disk leaves half of one behind."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwenkit.errors import ArtifactError, BusyError, QwenkitError, ResourceError
from qwenkit.exhaustion import is_disk_full

# No permission, or a file where a folder should be.
UNUSABLE_ERRNOS = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR)


def hash_file(path: Path) -> str:
    """Hash a file's content with sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tree(folder: Path, patterns: Sequence[str]) -> str:
    """Hash the names and contents of all files of a folder that match one of the glob patterns."""
    digest = hashlib.sha256()
    for path in sorted({found for pattern in patterns for found in folder.glob(pattern) if found.is_file()}):
        digest.update(f"{path.relative_to(folder)}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and programs: indented, UTF-8, NaN refused since JSON has none."""
    path.write_text(
        json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ArtifactError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing.") from None
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON: {error}.") from error


def replace_file(path: Path, content: str) -> None:
    """Replace a small file as a whole: a reader sees the old content or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with translate_disk_errors(path):
        try:
            temporary.write_text(content, encoding="utf-8")
            fsync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_disk_errors(target: Path) -> Iterator[None]:
    """Say what to do where the system says that `target` cannot be written; other errors pass as they are.

    Raises:
        ResourceError: The disk is full.
        BusyError: This user may not write there.
    """
    try:
        yield
    except QwenkitError:
        raise
    except Exception as error:
        if is_disk_full(error, target.parent if target.parent.is_dir() else None):
            raise ResourceError(
                f"the disk is full while writing {target}: free some space and run the command again."
            ) from error
        if isinstance(error, OSError) and error.errno in UNUSABLE_ERRNOS:
            raise BusyError(
                f"{target} cannot be written ({error.strerror}): choose another --root."
            ) from error
        raise

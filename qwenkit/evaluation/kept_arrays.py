"""Arrays that took long to compute, kept on disk under the fingerprint of what they were computed from."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.artifacts import fingerprint, publish, read_manifest, verify
from qwenkit.errors import ArtifactError, BusyError


@dataclass(frozen=True, kw_only=True)
class KeptArrays:
    """The place of what one computation gives, whether it is there yet or not.

    Attributes:
        cache: A folder for each computation is made in it, named by fingerprint.
        stage: What kind of computation it is.
        revision: Counted up when the code would give something else for the same identity.
        identity: Everything that decides the outcome.
    """

    cache: Path
    stage: str
    revision: int
    identity: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """Stands for the kind, the revision and the identity."""
        return fingerprint(
            stage=self.stage, revision=self.revision, settings={}, inputs={}, identity=self.identity
        )

    @property
    def folder(self) -> Path:
        """Where the arrays lie, a file each."""
        return self.cache / self.fingerprint.removeprefix("sha256:")[:16]

    def read(self, names: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Read arrays in the order of their names; None where there are none, or they are damaged."""
        try:
            manifest = read_manifest(self.folder)
            if manifest is None or manifest.fingerprint != self.fingerprint:
                return None
            verify(self.folder, deep=True)
        except ArtifactError:
            return None
        return {name: np.load(self.folder / f"{name}.npy", allow_pickle=False) for name in names}

    def write(self, arrays: Mapping[str, np.ndarray], *, counts: Mapping[str, Any]) -> None:
        """Keep arrays by name; where the folder is busy or may not be written, they are just not kept."""
        # Another evaluation may be writing the same at this moment: its copy is as good.
        with (
            suppress(BusyError),
            publish(
                self.folder,
                stage=self.stage,
                fingerprint=self.fingerprint,
                settings={},
                inputs={},
                identity=self.identity,
                counts=counts,
                replace=True,
            ) as staging,
        ):
            for name, array in arrays.items():
                np.save(staging.folder / f"{name}.npy", array, allow_pickle=False)


def hash_texts(texts: Sequence[str]) -> str:
    """Identify a list of texts by its content and order."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", errors="surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()

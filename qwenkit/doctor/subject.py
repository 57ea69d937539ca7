"""What is examined: the machine, and a config or a saved model, with the facts about each."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from qwenkit.artifacts import Manifest, read_manifest
from qwenkit.config import Config
from qwenkit.doctor.machine import Machine, look_at_machine
from qwenkit.doctor.model import Model, read_saved, require_tokenizer, start_model
from qwenkit.doctor.rows import Rows, read_rows
from qwenkit.errors import QwenkitError
from qwenkit.runs import Workspace
from qwenkit.saved import SavedModel
from qwenkit.stages import TOKENIZE

Facts = TypeVar("Facts")


class Subject:
    """What is examined: the machine, and a config or a saved model if one is named.

    Facts are gathered when a check first asks for them, and once. Where that fails, the check "model" or
    "data" says so and those that needed them are left out.
    """

    def __init__(self, *, root: Path, config: Config | None = None, saved: SavedModel | None = None) -> None:
        self.root = root
        self.config = config
        self.saved = saved
        self.problems: dict[str, QwenkitError] = {}

    @property
    def is_examined(self) -> bool:
        """Whether there is more than the machine to look at."""
        return self.config is not None or self.saved is not None

    @cached_property
    def machine(self) -> Machine:
        """Facts about the machine."""
        return look_at_machine(self.root)

    @cached_property
    def model(self) -> Model | None:
        """Facts about the classifier; None where there is none, or it cannot be read."""
        return self._gather("model", self._read_model)

    @cached_property
    def rows(self) -> Rows | None:
        """Facts about the data; None where there is none, or it cannot be read."""
        return self._gather("data", self._read_rows)

    def _gather(self, what: str, read: Callable[[], Facts | None]) -> Facts | None:
        try:
            return read()
        except QwenkitError as error:
            self.problems[what] = error
            return None

    def _read_model(self) -> Model | None:
        if self.saved is not None:
            return read_saved(self.saved)
        if self.config is None:
            return None
        tokenized = self._find_tokenized()
        tokenizer = require_tokenizer(self.config, tokenized[0] if tokenized else None)
        return start_model(self.config, tokenizer=tokenizer)

    def _read_rows(self) -> Rows | None:
        prepared = self._find_prepared()
        if not self.is_examined or prepared is None:
            return None
        tokenized = self._find_tokenized()
        return read_rows(prepared, tokenized[1] if tokenized else None)

    def _find_prepared(self) -> Path | None:
        workspace = Workspace(self.root)
        if self.saved is None:
            return workspace.find_prepared(self.config.dataset.name if self.config else None)
        folder = workspace.prepared(self.saved.dataset) if self.saved.dataset else None
        return folder if folder is not None and folder.is_dir() else None

    def _find_tokenized(self) -> tuple[Path, Manifest] | None:
        """Find the tokenized data that the model was, or would be, trained on."""
        prepared = self._find_prepared()
        if prepared is None:
            return None
        if self.saved is None and self.config is not None:
            settings = self.config.tokenization
            return Workspace(self.root).find_tokenized(
                prepared, max_length=settings.max_length, truncation=settings.truncation
            )
        wanted = self.saved.manifest.inputs.get(TOKENIZE.name) if self.saved and self.saved.manifest else None
        for folder in sorted((prepared.parent / TOKENIZE.folder).glob("[!.]*")):
            manifest = read_manifest(folder)
            if manifest is not None and manifest.fingerprint == wanted:
                return folder, manifest
        return None

"""What an export format is: how it is written, read back and described."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from qwenkit.modeling.bundle import Bundle
from qwenkit.modeling.loading import LoadedClassifier

Gives = Literal["logits", "log-probabilities"]
"""What a program tells: logits, or only what is left of them after a softmax."""


@dataclass(frozen=True)
class Written:
    """What a format wrote, for the card and for the message when it is not close enough.

    Attributes:
        bundle: What went into qwenkit.json.
        form: The weights in a few words.
        advice: What would bring the export closer to the trained model; empty where nothing does.
    """

    bundle: Bundle
    form: str
    advice: str = ""


class Format(Protocol):
    """One export format. A new one is a module that holds it as FORMAT, and an entry in formats.FORMATS.

    Attributes:
        hub_library: The hub's library_name.
        packages: Importable names that it needs; `pip install 'qwenkit[NAME]'` installs them.
        own_settings: Settings of the export section that no other format reads.
        gives: What `score` returns. Logarithms of probabilities are logits less what those of a row share.
        usage: How a reader of the card runs the folder, as Markdown.
    """

    name: str
    hub_library: str
    packages: tuple[str, ...]
    own_settings: tuple[str, ...]
    gives: Gives
    usage: str

    def write(
        self, folder: Path, *, trained: LoadedClassifier, trained_folder: Path, settings: Any
    ) -> Written:
        """Write model files, tokenizer and qwenkit.json.

        Args:
            settings: The export section.

        Raises:
            ConfigError: The format cannot hold this model.
        """

    def score(self, folder: Path, input_ids: Any, *, device: Any) -> np.ndarray:
        """Load the folder as its users will, and score tokenized documents, the temperature applied.

        Returns:
            float32, shape (rows, classes).
        """

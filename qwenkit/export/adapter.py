"""The adapter as it was trained, for PEFT and qwenkit: small, and bound to its base model."""

from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.errors import ConfigError
from qwenkit.export.contract import Gives, Written
from qwenkit.export.parity import score_calibrated
from qwenkit.modeling.bundle import save_model
from qwenkit.modeling.identity import OWN_FOLDER
from qwenkit.modeling.loading import LoadedClassifier, load_model
from qwenkit.modeling.own import link_own


class AdapterFormat:
    """LoRA tensors, score head, modules trained whole, tokenizer and qwenkit.json."""

    name = "adapter"
    hub_library = "peft"
    packages: tuple[str, ...] = ()
    own_settings: tuple[str, ...] = ()
    gives: Gives = "logits"
    usage = '    qwenkit predict path/to/this/folder "some text"\n'

    def write(
        self, folder: Path, *, trained: LoadedClassifier, trained_folder: Path, settings: Any
    ) -> Written:
        """Write the folder; the weights are bit for bit those of the trained one.

        Raises:
            ConfigError: The model was trained whole, so there is no adapter.
        """
        if trained.bundle.kind != "adapter":
            raise ConfigError(
                f"{trained_folder} was fine-tuned whole and has no adapter: export it with `--format merged`."
            )
        save_model(folder, model=trained.model, tokenizer=trained.tokenizer, bundle=trained.bundle)
        if trained.bundle.base_model.kind == "own":
            link_own(trained_folder / OWN_FOLDER, folder)
        method = trained.bundle.quantization.method
        return Written(trained.bundle, form=f"adapter for the base in {method} quantization")

    def score(self, folder: Path, input_ids: Any, *, device: Any) -> np.ndarray:
        """Score with the folder read back from disk."""
        return score_calibrated(load_model(folder, device=device), input_ids)


FORMAT = AdapterFormat()

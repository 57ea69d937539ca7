"""The list of export formats, and the one way through which each is written and proven."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qwenkit.artifacts import write_json
from qwenkit.console import Console
from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.export.adapter import AdapterFormat
from qwenkit.export.card import write_card
from qwenkit.export.merged import MergedFormat
from qwenkit.export.parity import check_parity, choose_rows, measure_parity, score_calibrated
from qwenkit.modeling.bundle import Bundle, LoadedClassifier, load_model

PARITY_NAME = "parity.json"
DTYPE_ADVICE = "set export.dtype=float32 for a closer copy"
ORIGINAL_BASE_ADVICE = "set export.merge_base=dequantized: the adapter was never trained on the original base"


class Format(Protocol):
    """One export format: how it is written. A new one is a module here and a line in FORMATS."""

    name: str
    library: str

    def write(
        self, folder: Path, *, trained: LoadedClassifier, trained_folder: Path, settings: Any
    ) -> Bundle:
        """Write model files, tokenizer and qwenkit.json; return what went into the last."""

    def score(self, folder: Path, input_ids: Any, *, device: Any) -> np.ndarray:
        """Load the folder as its users will, and give the logits with the temperature applied."""


FORMATS: dict[str, Format] = {entry.name: entry for entry in (AdapterFormat(), MergedFormat())}


def find_format(name: str) -> Format:
    """Look a format up by its name.

    Raises:
        ConfigError: There is none of that name; the message lists what there is.
    """
    if name not in FORMATS:
        raise ConfigError(f'there is no export format "{name}"; there are: {", ".join(FORMATS)}.')
    return FORMATS[name]


def export_model(
    format_name: str,
    *,
    folder: Path,
    trained_folder: Path,
    input_ids: Any,
    settings: Any,
    console: Console,
    training: Mapping[str, Any] | None = None,
    device: Any = None,
) -> dict[str, Any]:
    """Export a trained model into a folder, read it back from there and compare it with the original.

    Args:
        folder: Empty; a staging folder, so that an export that fails here is never seen.
        trained_folder: A run's trained/ or a checkpoint.
        input_ids: Tokenized validation documents; parity_rows of them are used.
        settings: The export section.
        training: What the card says about the data, e.g. {"dataset": ..., "rows": {"train": ...}}.

    Returns:
        format, bytes, dtype and the parity numbers.

    Raises:
        ConfigError: There is no such format, or it cannot hold this model.
        ArtifactError: The export differs from the trained model by more than the settings allow.
    """
    export_format = find_format(format_name)
    if len(input_ids) == 0:
        raise ArtifactError(
            f"{trained_folder} cannot be proven against its export: there are no validation rows."
        )
    chosen = [input_ids[int(row)] for row in choose_rows(len(input_ids), settings.parity_rows)]
    trained = load_model(trained_folder, device=device)
    reference = score_calibrated(trained, chosen)
    console.info(f"writing {format_name} from {trained_folder}")
    bundle = export_format.write(folder, trained=trained, trained_folder=trained_folder, settings=settings)
    # Both models together may not fit.
    del trained
    exported = export_format.score(folder, chosen, device=device)
    parity = measure_parity(reference, exported, max_logit_difference=settings.max_logit_difference)
    check_parity(
        parity,
        format_name=format_name,
        max_label_flips=settings.max_label_flips,
        advice=_advise(settings, bundle),
    )
    write_json(folder / PARITY_NAME, parity)
    write_card(folder, bundle=bundle, library=export_format.library, parity=parity, training=training or {})
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"format": format_name, "bytes": size, "dtype": bundle.dtype, **parity}


def _advise(settings: Any, bundle: Bundle) -> str:
    if settings.merge_base == "original":
        return ORIGINAL_BASE_ADVICE
    return "" if bundle.dtype == "float32" else DTYPE_ADVICE

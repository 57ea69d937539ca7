"""The one way through which every export is written, read back and proven."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwenkit.console import Console
from qwenkit.errors import ArtifactError
from qwenkit.export.card import write_card
from qwenkit.export.formats import find_format
from qwenkit.export.parity import center_logits, check_parity, choose_rows, measure_parity, score_calibrated
from qwenkit.files import write_json
from qwenkit.modeling.loading import load_model

PARITY_NAME = "parity.json"
ORIGINAL_BASE_ADVICE = "set export.merge_base=dequantized: the adapter was never trained on the original base"


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
    written = export_format.write(folder, trained=trained, trained_folder=trained_folder, settings=settings)
    # Both models together may not fit.
    del trained
    exported = export_format.score(folder, chosen, device=device)
    if export_format.gives == "log-probabilities":
        reference = center_logits(reference)
    parity = measure_parity(reference, exported, max_logit_difference=settings.max_logit_difference)
    check_parity(
        parity,
        format_name=format_name,
        max_label_flips=settings.max_label_flips,
        advice=ORIGINAL_BASE_ADVICE if settings.merge_base == "original" else written.advice,
    )
    write_json(folder / PARITY_NAME, parity)
    write_card(
        folder,
        bundle=written.bundle,
        library=export_format.hub_library,
        form=written.form,
        usage=export_format.usage,
        parity=parity,
        training=training or {},
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"format": format_name, "bytes": size, "dtype": written.bundle.dtype, **parity}

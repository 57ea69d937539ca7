"""qwenkit predict: label texts with a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.console import Console, safe_text
from qwenkit.errors import ConfigError
from qwenkit.ranks import find_ranks

if TYPE_CHECKING:
    from qwenkit.modeling.bundle import Bundle
    from qwenkit.modeling.operating_point import OperatingPoint
    from qwenkit.modeling.predictor import Predictions
    from qwenkit.saved import SavedModel

TABLE_TEXT_WIDTH = 60


def predict(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL|TEXT", help="A model folder (default: the newest run), then texts."),
    ] = None,
    input_path: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE|-",
            rich_help_panel=opt.DATA,
            help="A .txt (a text a line), .csv, .jsonl or .parquet file, or - for stdin (a text a line); all "
            "but .parquet also packed as .gz or .zst.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel=opt.OUTPUT,
            help="Write .csv, .jsonl or .parquet instead of a table.",
        ),
    ] = None,
    text_column: Annotated[
        str,
        typer.Option(
            "--text-column", rich_help_panel=opt.DATA, help="Column of the file that holds the text."
        ),
    ] = "text",
    operating_point: Annotated[
        str | None,
        typer.Option(
            "--operating-point",
            metavar="fpr=RATE",
            rich_help_panel=opt.RESULT,
            help="Decide at the threshold chosen on validation for this false-positive rate, e.g. fpr=0.01.",
        ),
    ] = None,
    abstain: Annotated[
        bool,
        typer.Option(
            "--abstain",
            rich_help_panel=opt.RESULT,
            help='With an operating point: decide "uncertain" where neither error is rare.',
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", rich_help_panel=opt.OUTPUT, help="Overwrite the file that --output names."),
    ] = False,
    root: opt.RootOption = None,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            rich_help_panel=opt.OUTPUT,
            help="Print one JSON object a line: text, label, probabilities, decision.",
        ),
    ] = False,
) -> None:
    """Label texts: a table, one JSON object a line, or a file.

    Example: qwenkit predict output/qwen3-0.6b-100k "some text"
    """
    with command_frame(debug=debug, quiet=quiet, json=json, on_ranks=True) as console:
        if abstain and operating_point is None:
            raise ConfigError("--abstain needs an operating point: add --operating-point fpr=0.01.")
        if input_path is not None:
            _refuse_texts(arguments or [])
        saved, texts = _split_arguments(arguments or [], root=root)
        if output is not None:
            from qwenkit.data.prediction_files import check_destination

            check_destination(output, source=input_path, force=force)
        ranks = find_ranks()
        if input_path is not None:
            from qwenkit.data.prediction_files import read_texts

            # Standard input can be read once only.
            texts = ranks.hand_out(lambda: read_texts(input_path, text_column=text_column))
        if not json:
            console.header("predict", str(saved.folder))
        if not texts:
            raise ConfigError("nothing to predict: give texts, --input FILE, or --input - for stdin.")
        from qwenkit.modeling.predictor import Predictor

        predictor = Predictor.from_folder(saved.folder)
        point = _find_point(operating_point, saved, predictor.bundle, console=console)
        predictions = predictor.predict(texts, point=point, may_abstain=abstain, ranks=ranks)
        records = [_to_record(text, predictions, row) for row, text in enumerate(texts)]
        if ranks.is_main:
            _show(records, console=console, output=output)


def _refuse_texts(arguments: list[str]) -> None:
    """Refuse words beside --input: one may be the name of a model folder that lies elsewhere."""
    texts = arguments[1:] if arguments and Path(arguments[0]).is_dir() else arguments
    if texts:
        raise ConfigError(
            f"{safe_text(texts[0], limit=60)} is no model folder, and the texts come from --input: name a "
            "folder that is there, or give texts or --input alone."
        )


def _split_arguments(arguments: list[str], *, root: Path | None) -> tuple["SavedModel", list[str]]:
    """Tell the model folder from the texts; without a folder the newest run is taken.

    Args:
        root: Where that run is looked for; None goes by ./config.yaml, as training does.
    """
    from qwenkit.config import load_config
    from qwenkit.runs import Workspace
    from qwenkit.saved import find_model

    if arguments and Path(arguments[0]).is_dir():
        # The workspace is only asked for a model that nobody named.
        return find_model(Path(arguments[0]), Workspace(root or Path())), arguments[1:]
    if arguments and "/" in arguments[0] and not any(char.isspace() for char in arguments[0]):
        raise ConfigError(
            f"{safe_text(arguments[0], limit=120)} is no folder; a model folder comes first, then texts."
        )
    return find_model(None, Workspace(root or Path(load_config().config.paths.root))), arguments


def _find_point(
    wanted: str | None, saved: "SavedModel", bundle: "Bundle", *, console: Console
) -> "OperatingPoint | None":
    """Take the operating point asked for from qwenkit.json, or choose it on the validation predictions."""
    if wanted is None:
        return None
    from qwenkit.evaluation.operating_points import find_operating_point
    from qwenkit.modeling.operating_point import parse_operating_point

    point = find_operating_point(
        parse_operating_point(wanted),
        bundle.operating_points,
        labels=bundle.labels,
        positive_label=bundle.positive_label,
        predictions_path=saved.validation_predictions,
    )
    low, high = point.fpr_interval
    console.info(
        f"{point.name}: flags {bundle.positive_label}; on validation {point.tpr:.1%} of them are found and "
        f"{point.fpr:.2%} of the others flagged (on new texts {low:.2%} to {high:.2%}, 95 % interval)"
    )
    if not point.is_well_supported:
        console.warn(f"{point.name} rests on {point.negatives:,} validation texts only: take it as a hint.")
    return point


def _to_record(text: str, predictions: "Predictions", row: int) -> dict[str, Any]:
    probabilities = predictions.probabilities[row].tolist()
    return {
        "text": text,
        "label": predictions.labels[int(predictions.label_ids[row])],
        "probabilities": dict(zip(predictions.labels, probabilities, strict=True)),
        **({} if predictions.decisions is None else {"decision": predictions.decisions[row]}),
    }


def _show(records: list[dict[str, Any]], *, console: Console, output: Path | None) -> None:
    if output is not None:
        from qwenkit.data.prediction_files import write_records

        write_records(output, [_flatten(record) for record in records])
        console.success(f"wrote {len(records):,} predictions to {output}")
    elif console.json:
        for record in records:
            console.emit(record)
    else:
        names = list(records[0]["probabilities"])
        has_decision = "decision" in records[0]
        rows = [
            [
                record["text"][:TABLE_TEXT_WIDTH],
                record["label"],
                *([record["decision"]] if has_decision else []),
                *[f"{record['probabilities'][name]:.4f}" for name in names],
            ]
            for record in records
        ]
        titles = ["text", "label", *(["decision"] if has_decision else [])]
        console.table("", [*titles, *[f"p({name})" for name in names]], rows)


def _flatten(record: dict[str, Any]) -> dict[str, Any]:
    named = {f"probability_{name}": value for name, value in record["probabilities"].items()}
    decided = {"decision": record["decision"]} if "decision" in record else {}
    return {"text": record["text"], "label": record["label"], **decided, **named}

"""qwenkit predict: label texts with a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qwenkit.cli import options as opt
from qwenkit.console import Console, safe_text
from qwenkit.errors import ConfigError

if TYPE_CHECKING:
    from qwenkit.modeling.predictor import Predictions

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
            help="A .txt (a text a line), .csv, .jsonl or .parquet file, or - for stdin (a text a line).",
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
    root: opt.RootOption = None,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            rich_help_panel=opt.OUTPUT,
            help="Print one JSON object a line: text, label, probabilities.",
        ),
    ] = False,
) -> None:
    """Label texts: a table, one JSON object a line, or a file.

    Example: qwenkit predict output/qwen3-0.6b-100k "some text"
    """
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        folder, texts = _split_arguments(arguments or [], root=root or Path("output"), console=console)
        if input_path is not None:
            from qwenkit.data.readers import read_texts

            texts = [*texts, *read_texts(input_path, text_column=text_column)]
        if not json:
            console.header("predict", str(folder))
        if not texts:
            raise ConfigError("nothing to predict: give texts, --input FILE, or --input - for stdin.")
        from qwenkit.modeling.predictor import Predictor

        predictions = Predictor.from_folder(folder).predict(texts)
        records = [_to_record(text, predictions, row) for row, text in enumerate(texts)]
        _show(records, console=console, output=output)


def _split_arguments(arguments: list[str], *, root: Path, console: Console) -> tuple[Path, list[str]]:
    """Tell the model folder from the texts; without a folder the newest run is taken and named."""
    from qwenkit.runs import Workspace
    from qwenkit.saved import find_model

    workspace = Workspace(root)
    if arguments and Path(arguments[0]).is_dir():
        return find_model(Path(arguments[0]), workspace).folder, arguments[1:]
    if arguments and "/" in arguments[0] and not any(char.isspace() for char in arguments[0]):
        raise ConfigError(
            f"{safe_text(arguments[0], limit=120)} is no folder; a model folder comes first, then texts."
        )
    folder = find_model(None, workspace).folder
    return folder, arguments


def _to_record(text: str, predictions: "Predictions", row: int) -> dict[str, Any]:
    probabilities = predictions.probabilities[row].tolist()
    return {
        "text": text,
        "label": predictions.labels[int(predictions.label_ids[row])],
        "probabilities": dict(zip(predictions.labels, probabilities, strict=True)),
    }


def _show(records: list[dict[str, Any]], *, console: Console, output: Path | None) -> None:
    if output is not None:
        from qwenkit.data.readers import write_records

        write_records(output, [_flatten(record) for record in records])
        console.success(f"wrote {len(records):,} predictions to {output}")
    elif console.json:
        for record in records:
            console.emit(record)
    else:
        names = list(records[0]["probabilities"])
        rows = [
            [
                record["text"][:TABLE_TEXT_WIDTH],
                record["label"],
                *[f"{record['probabilities'][name]:.4f}" for name in names],
            ]
            for record in records
        ]
        console.table("", ["text", "label", *[f"p({name})" for name in names]], rows)


def _flatten(record: dict[str, Any]) -> dict[str, Any]:
    named = {f"probability_{name}": value for name, value in record["probabilities"].items()}
    return {"text": record["text"], "label": record["label"], **named}

"""The options that commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

DATA = "Data and settings"
TRAINING = "Training"
RESULT = "Result"
PLAN = "Plan"
OUTPUT = "Output"


def _complete_dataset(incomplete: str) -> list[str]:
    from qwenkit.data.sources import ALIASES, DEMO

    return [name for name in (*ALIASES, DEMO) if name.startswith(incomplete)]


def _complete_config(incomplete: str) -> list[str]:
    from qwenkit.config.loading import shipped_configs

    return [name for name in shipped_configs() if name.startswith(incomplete)]


def _complete_quantization(incomplete: str) -> list[str]:
    return [name for name in ("nf4", "fp4", "int8", "none") if name.startswith(incomplete)]


def config_option(meaning: str) -> Any:
    """Make --config, for a command that does with the file what `meaning` says."""
    return typer.Option(
        "--config",
        "-c",
        metavar="FILE|NAME",
        rich_help_panel=DATA,
        autocompletion=_complete_config,
        show_default=False,
        help=meaning,
    )


def model_argument(meaning: str) -> Any:
    """Make the argument MODEL, for a command that takes what `meaning` says where none is given."""
    return typer.Argument(metavar="MODEL", help=meaning, show_default=False)


DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME|ID|PATH",
        rich_help_panel=DATA,
        autocompletion=_complete_dataset,
        show_default=False,
        help="10k, 100k, 1M, 2M, demo, raid (with dataset.path), a hub id, or a CSV, JSONL or Parquet file "
        "or folder. Default: dataset.name of the config, else the data set prepared last.",
    ),
]
ConfigOption = Annotated[
    str | None,
    config_option(
        "A config.yaml, or a shipped one: default, demo, fast. Default: ./config.yaml if there is one."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        rich_help_panel=DATA,
        help="One setting; may be given again. Stronger than the file.",
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        rich_help_panel=OUTPUT,
        help="Where artifacts lie. Default: paths.root of the config, which is output unless set.",
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force", rich_help_panel=OUTPUT, help="Redo what the command makes, overwrite what is there."
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", rich_help_panel=OUTPUT, help="Show tracebacks.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=OUTPUT, help="Print warnings and errors only.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print the result as JSON on stdout.")
]
EpochsOption = Annotated[
    float | None,
    typer.Option(
        "--epochs", rich_help_panel=TRAINING, help="training.num_train_epochs, passes over the data."
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size", rich_help_panel=TRAINING, help="Documents of a micro-batch; evaluation's too."
    ),
]
LearningRateOption = Annotated[
    float | None,
    typer.Option("--learning-rate", rich_help_panel=TRAINING, help="training.learning_rate, its peak."),
]
LoraRankOption = Annotated[
    int | None,
    typer.Option(
        "--lora-rank", rich_help_panel=TRAINING, help="peft.lora_r; alpha becomes twice that unless set."
    ),
]
QuantizationOption = Annotated[
    str | None,
    typer.Option(
        "--quantization",
        metavar="nf4|fp4|int8|none",
        rich_help_panel=TRAINING,
        autocompletion=_complete_quantization,
        help="How the base is held. Default: the config's.",
    ),
]
NoWandbOption = Annotated[
    bool, typer.Option("--no-wandb", rich_help_panel=TRAINING, help="Leave Weights & Biases off.")
]
NoRehearsalOption = Annotated[
    bool,
    typer.Option(
        "--no-rehearsal",
        rich_help_panel=TRAINING,
        help="Begin a long run without trying its longest documents, an evaluation and a checkpoint first.",
    ),
]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="PATH|auto",
        rich_help_panel=TRAINING,
        help="Go on from this checkpoint, or from the newest valid one.",
    ),
]
RunNameOption = Annotated[
    str | None,
    typer.Option(
        "--run-name", rich_help_panel=TRAINING, help="Name of the run's folder. Default: <model>-<dataset>."
    ),
]
MaxStepsOption = Annotated[
    int | None,
    typer.Option("--max-steps", rich_help_panel=TRAINING, help="Stop after this many optimizer steps."),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        rich_help_panel=OUTPUT,
        help="Folder to write into, instead of evaluated/ or exported/ in the run.",
    ),
]
ModelArgument = Annotated[
    Path | None,
    model_argument(
        "A run, its trained/ or a checkpoint, an export, any classifier. Default: the newest run."
    ),
]

"""evaluate and export: recipes over QwenTrainingPipeline for a model that is trained already."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.cli.recipe import find_root, finish, open_pipeline
from qwenkit.console import safe_text
from qwenkit.errors import ConfigError
from qwenkit.export.formats import FORMATS

OWN_SPLIT = "test"


OF_TRAINING = ("training", "peft", "quantization", "class_weights", "early_stopping")
READ_HERE = ("training.per_device_eval_batch_size",)


def evaluate(
    model: opt.ModelArgument = None,
    dataset: opt.DatasetOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            rich_help_panel=opt.DATA,
            help="Any labelled file instead of the test split.",
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            metavar="NAME",
            rich_help_panel=opt.DATA,
            help="Another prepared split, such as test_holdout_model (dataset.holdout).",
        ),
    ] = OWN_SPLIT,
    out: opt.OutOption = None,
    raid: Annotated[
        Path | None,
        typer.Option(
            "--raid",
            metavar="FILE",
            rich_help_panel=opt.DATA,
            help="A CSV of the RAID benchmark: write what its leaderboard takes.",
        ),
    ] = None,
    detector_name: Annotated[
        str | None,
        typer.Option(
            "--detector-name", rich_help_panel=opt.DATA, help="Name of the model on the leaderboard."
        ),
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option("--contact", rich_help_panel=opt.DATA, help="Whom the leaderboard may ask."),
    ] = None,
    operating_point: Annotated[
        list[str] | None,
        typer.Option(
            "--operating-point",
            metavar="fpr=RATE",
            rich_help_panel=opt.DATA,
            help="Report this false-positive rate too; its threshold comes from validation. Repeatable.",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            rich_help_panel=opt.DATA,
            help="Score a sample again under attacks, cut short, and on held-out splits.",
        ),
    ] = False,
    no_wandb: opt.NoWandbOption = False,
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    root: opt.RootOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Measure a model: metrics, predictions and a report.

    Example: qwenkit evaluate output/qwen3-0.6b-100k
    """
    with command_frame(debug=debug, quiet=quiet, json=json, on_ranks=True) as console:
        _refuse_unread(settings)
        _refuse_several_sets(dataset=dataset, data=data, raid=raid, split=split)
        if raid is None:
            for_raid = {"--detector-name": detector_name, "--contact": contact}
            _refuse_idle(for_raid, "only with --raid FILE, for the leaderboard.")
        else:
            measures = {"--operating-point": operating_point, "--robustness": robustness}
            _refuse_idle(measures, "not beside --raid, which scores RAID's file by RAID's rules.")
        pipeline = open_pipeline(
            console,
            dataset=dataset,
            config_path=config,
            overrides=settings or (),
            enable_wandb=not no_wandb,
            root=root,
            force=force,
            stage="evaluate",
        )
        pipeline.load_config()
        if operating_point:
            from qwenkit.modeling.operating_point import parse_operating_point

            wanted = [parse_operating_point(one) for one in operating_point]
            pipeline.config.evaluation.extra_target_fprs += wanted
        if robustness:
            pipeline.config.evaluation.robustness = True
        pipeline.load_trained(model, weights=False)
        if raid is not None:
            pipeline.write_raid_submission(raid, out=out, detector_name=detector_name, contact=contact)
            finish(console, pipeline, "evaluate", given={"root": find_root(pipeline)})
            return
        pipeline.initialize_wandb()
        pipeline.run_post_evaluation(split=split, data=data, out=out)
        finish(console, pipeline, "evaluate", given={"root": find_root(pipeline)})


def _refuse_unread(settings: list[str] | None) -> None:
    """Refuse settings of training: a saved model is as it was trained, whatever they say.

    Raises:
        ConfigError: It names them.
    """
    names = [setting.partition("=")[0].strip() for setting in settings or ()]
    unread = [name for name in names if name.partition(".")[0] in OF_TRAINING and name not in READ_HERE]
    if unread:
        raise ConfigError(
            f"--set {', '.join(safe_text(name, limit=60) for name in unread)}: the model is as it was "
            "trained, so this would do nothing here; `qwenkit train` reads it."
        )


def _refuse_idle(options: Mapping[str, Any], reason: str) -> None:
    """Refuse the options among these that were given, since they would do nothing here."""
    idle = [name for name, given in options.items() if given]
    if idle:
        raise ConfigError(f"{', '.join(idle)}: {reason}")


def _refuse_several_sets(*, dataset: str | None, data: Path | None, raid: Path | None, split: str) -> None:
    """Refuse options that name other rows than those that would be scored.

    Raises:
        ConfigError: Two of them name rows, or a split is wanted of a file, which has none.
    """
    names = [
        name
        for name, value in (("--data", data), ("--raid", raid), ("--dataset", dataset))
        if value is not None
    ]
    if split != OWN_SPLIT and (data or raid):
        names.append("--split")
    if len(names) > 1:
        raise ConfigError(f"{' and '.join(names)} each say what is scored: give one of them.")


def export(
    model: opt.ModelArgument = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            rich_help_panel=opt.RESULT,
            help=f"{', '.join(FORMATS)}; may be given again. Default: export.formats.",
        ),
    ] = None,
    merge_base: Annotated[
        str | None,
        typer.Option(
            "--merge-base",
            metavar="dequantized|original",
            rich_help_panel=opt.RESULT,
            help="Merge into the base as it was trained on, or into the original weights.",
        ),
    ] = None,
    out: opt.OutOption = None,
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    root: opt.RootOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Write a model for use elsewhere, proven equal to what was trained.

    Example: qwenkit export output/qwen3-0.6b-100k --format merged
    """
    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        _refuse_unread(settings)
        overrides = [*(settings or ())]
        if merge_base is not None:
            overrides.append(f"export.merge_base={merge_base}")
        pipeline = open_pipeline(
            console, config_path=config, overrides=overrides, root=root, force=force, stage="export"
        )
        pipeline.load_config()
        pipeline.load_trained(model, weights=False)
        pipeline.export(formats, out=out)
        finish(console, pipeline, "export")

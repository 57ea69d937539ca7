"""The five stages, `run` for all of them, and `demo`: recipes over QwenTrainingPipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qwenkit.cli import options as opt
from qwenkit.console import Console
from qwenkit.export.formats import FORMATS

if TYPE_CHECKING:
    from qwenkit.pipeline import QwenTrainingPipeline

NEXT = {
    "prepare": "qwenkit tokenize",
    "tokenize": "qwenkit train",
    "train": "qwenkit evaluate {run}",
    "evaluate": "qwenkit export {run}",
    "export": 'qwenkit predict {run} "some text"',
    "run": 'qwenkit predict {run} "some text"',
}
"""What a user most likely types after each command."""


def prepare(
    dataset: opt.DatasetOption = None,
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    root: opt.RootOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Read, clean, label and split a data set.

    Example: qwenkit prepare --dataset 100k
    """
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = _open(
            console, dataset=dataset, config_path=config, overrides=settings or (), root=root, force=force
        )
        pipeline.load_config()
        pipeline.load_datasets()
        pipeline.create_label_mappings()
        _finish(console, pipeline, "prepare")


def tokenize(
    dataset: opt.DatasetOption = None,
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    root: opt.RootOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Turn the prepared texts into token ids.

    Example: qwenkit tokenize --set tokenization.max_length=512
    """
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = _open(
            console, dataset=dataset, config_path=config, overrides=settings or (), root=root, force=force
        )
        pipeline.load_config()
        pipeline.load_datasets()
        pipeline.create_label_mappings()
        pipeline.setup_tokenizer()
        pipeline.tokenize_datasets()
        _finish(console, pipeline, "tokenize")


def train(
    dataset: opt.DatasetOption = None,
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    epochs: opt.EpochsOption = None,
    batch_size: opt.BatchSizeOption = None,
    learning_rate: opt.LearningRateOption = None,
    lora_rank: opt.LoraRankOption = None,
    quantization: opt.QuantizationOption = None,
    max_steps: opt.MaxStepsOption = None,
    no_wandb: opt.NoWandbOption = False,
    resume: opt.ResumeOption = None,
    run_name: opt.RunNameOption = None,
    root: opt.RootOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Fine-tune the model; a run that was killed goes on from its newest checkpoint.

    Example: qwenkit train --dataset 100k --epochs 3 --no-wandb
    """
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = _open(
            console,
            dataset=dataset,
            config_path=config,
            overrides=settings or (),
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            lora_rank=lora_rank,
            quantization=quantization,
            max_steps=max_steps,
            enable_wandb=not no_wandb,
            resume_from=resume,
            run_name=run_name,
            root=root,
            force=force,
        )
        try:
            pipeline.load_config()
            pipeline.initialize_wandb()
            pipeline.load_datasets()
            pipeline.create_label_mappings()
            pipeline.setup_tokenizer()
            pipeline.tokenize_datasets()
            pipeline.setup_model()
            pipeline.apply_lora()
            pipeline.create_trainer()
            pipeline.run_pre_evaluation()
            pipeline.train()
            pipeline.save_artifacts()
            pipeline.print_summary()
        finally:
            pipeline.cleanup()
        _finish(console, pipeline, "train")


def run(
    dataset: opt.DatasetOption = None,
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    epochs: opt.EpochsOption = None,
    batch_size: opt.BatchSizeOption = None,
    learning_rate: opt.LearningRateOption = None,
    lora_rank: opt.LoraRankOption = None,
    quantization: opt.QuantizationOption = None,
    max_steps: opt.MaxStepsOption = None,
    no_wandb: opt.NoWandbOption = False,
    resume: opt.ResumeOption = None,
    run_name: opt.RunNameOption = None,
    root: opt.RootOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """All stages: prepare, tokenize, train, evaluate, export.

    Example: qwenkit run --dataset 1M --epochs 5 --learning-rate 2e-4 --lora-rank 32 --no-wandb
    """
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = _open(
            console,
            dataset=dataset,
            config_path=config,
            overrides=settings or (),
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            lora_rank=lora_rank,
            quantization=quantization,
            max_steps=max_steps,
            enable_wandb=not no_wandb,
            resume_from=resume,
            run_name=run_name,
            root=root,
            force=force,
        )
        _run_and_export(console, pipeline)


def demo(
    settings: opt.SetOption = None,
    root: opt.RootOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """All stages on real text in minutes: offline, on a CPU, with a tiny random Qwen3.

    Example: qwenkit demo --root try

    Its scores prove the pipeline, not the detection of real language models.
    """
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = _open(
            console, dataset="demo", config_path="demo", overrides=settings or (), root=root, force=force
        )
        _run_and_export(console, pipeline)


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
    ] = "test",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", rich_help_panel=opt.OUTPUT, help="Where the results go."),
    ] = None,
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
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = _open(
            console, dataset=dataset, config_path=config, overrides=settings or (), root=root, force=force
        )
        pipeline.load_config()
        if operating_point:
            from qwenkit.modeling.operating_point import parse_operating_point

            wanted = [parse_operating_point(one) for one in operating_point]
            pipeline.config.evaluation.extra_target_fprs += wanted
        pipeline.load_trained(model)
        if raid is not None:
            pipeline.write_raid_submission(raid, out=out, detector_name=detector_name, contact=contact)
            _finish(console, pipeline, "evaluate")
            return
        pipeline.run_post_evaluation(split=split, data=data, out=out)
        _finish(console, pipeline, "evaluate")


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
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", rich_help_panel=opt.OUTPUT, help="Where the exports go."),
    ] = None,
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
    with opt.command_frame(debug=debug, quiet=quiet, json=json) as console:
        overrides = [*(settings or ())]
        if merge_base is not None:
            overrides.append(f"export.merge_base={merge_base}")
        pipeline = _open(console, config_path=config, overrides=overrides, root=root, force=force)
        pipeline.load_config()
        pipeline.load_trained(model)
        pipeline.export(formats, out=out)
        _finish(console, pipeline, "export")


def _open(console: Console, **arguments: Any) -> "QwenTrainingPipeline":
    from qwenkit.pipeline import QwenTrainingPipeline

    return QwenTrainingPipeline(console=console, **arguments)


def _run_and_export(console: Console, pipeline: "QwenTrainingPipeline") -> None:
    pipeline.run()
    pipeline.export()
    _finish(console, pipeline, "run")


def _finish(console: Console, pipeline: "QwenTrainingPipeline", command: str) -> None:
    """Print the result for a program, or what to type next for a person."""
    if console.json:
        console.emit(pipeline.describe_result())
        return
    report = pipeline.report_path
    if report is not None:
        console.info(f"report: {report}")
    console.next(NEXT[command].format(run=pipeline.run_folder or "MODEL"))

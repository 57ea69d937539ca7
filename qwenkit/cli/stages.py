"""prepare, tokenize and train, `run` for all stages, and `demo`: recipes over QwenTrainingPipeline."""

from typing import TYPE_CHECKING

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.cli.recipe import find_root, finish, open_pipeline
from qwenkit.console import Console

if TYPE_CHECKING:
    from qwenkit.pipeline import QwenTrainingPipeline


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
    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = open_pipeline(
            console,
            dataset=dataset,
            config_path=config,
            overrides=settings or (),
            root=root,
            force=force,
            stage="prepare",
        )
        pipeline.load_config()
        pipeline.load_datasets()
        pipeline.create_label_mappings()
        finish(
            console,
            pipeline,
            "prepare",
            given={"dataset": dataset, "config": config, "set": settings, "root": root},
        )


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
    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        pipeline = open_pipeline(
            console,
            dataset=dataset,
            config_path=config,
            overrides=settings or (),
            root=root,
            force=force,
            stage="tokenize",
        )
        pipeline.load_config()
        pipeline.load_datasets()
        pipeline.create_label_mappings()
        pipeline.setup_tokenizer()
        pipeline.tokenize_datasets()
        finish(
            console,
            pipeline,
            "tokenize",
            given={"dataset": dataset, "config": config, "set": settings, "root": root},
        )


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
    no_rehearsal: opt.NoRehearsalOption = False,
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
    with command_frame(debug=debug, quiet=quiet, json=json, on_ranks=True) as console:
        pipeline = open_pipeline(
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
            rehearsal=False if no_rehearsal else None,
            resume_from=resume,
            run_name=run_name,
            root=root,
            force=force,
            stage="train",
        )
        try:
            pipeline.load_config()
            pipeline.check_before_data()
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
        finish(console, pipeline, "train", given={"root": find_root(pipeline)})


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
    no_rehearsal: opt.NoRehearsalOption = False,
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
    with command_frame(debug=debug, quiet=quiet, json=json, on_ranks=True) as console:
        pipeline = open_pipeline(
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
            rehearsal=False if no_rehearsal else None,
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
    with command_frame(debug=debug, quiet=quiet, json=json, on_ranks=True) as console:
        pipeline = open_pipeline(
            console, dataset="demo", config_path="demo", overrides=settings or (), root=root, force=force
        )
        _run_and_export(console, pipeline)


def _run_and_export(console: Console, pipeline: "QwenTrainingPipeline") -> None:
    pipeline.load_config()
    pipeline.check_before_data()
    pipeline.run()
    pipeline.export()
    finish(console, pipeline, "run")

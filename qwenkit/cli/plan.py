"""qwenkit plan: what a run will take, before it starts."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.cli.recipe import write_command
from qwenkit.console import Console

if TYPE_CHECKING:
    from qwenkit.forecast.run import Forecast

GIB = 2**30
# More than any machine reaches; infinity is no number that JSON has.
MOST_TOKENS_PER_SECOND = 10**9


class Device(StrEnum):
    """What a plan may be made for."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


def plan(
    dataset: opt.DatasetOption = None,
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    epochs: opt.EpochsOption = None,
    batch_size: opt.BatchSizeOption = None,
    lora_rank: opt.LoraRankOption = None,
    quantization: opt.QuantizationOption = None,
    max_steps: opt.MaxStepsOption = None,
    tokens_per_second: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-second",
            min=1,
            max=MOST_TOKENS_PER_SECOND,
            metavar="RATE",
            rich_help_panel=opt.PLAN,
            help="Speed of training. Default: what a like run here measured, if there is one.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        Device,
        typer.Option("--device", rich_help_panel=opt.PLAN, help="Plan for this machine, or for another."),
    ] = Device.auto,
    root: opt.RootOption = None,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Say what training will take: parameters, work, memory, time. No weights are loaded.

    Example: qwenkit plan --dataset 100k --config fast --device gpu --tokens-per-second 50000
    """
    from qwenkit.config import load_config
    from qwenkit.config.checks_before_training import check_train_rows

    named = {
        "dataset": dataset,
        "epochs": epochs,
        "batch_size": batch_size,
        "lora_rank": lora_rank,
        "quantization": quantization,
        "max_steps": max_steps,
        "root": None if root is None else str(root),
    }
    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        loaded = load_config(config, overrides=settings or (), named=named)
        from qwenkit.forecast.run import forecast_run

        for note in loaded.notes:
            console.info(note)
        forecast = forecast_run(loaded.config, tokens_per_second=tokens_per_second, device=device.value)
        if forecast.rows:
            loaded.require(list(check_train_rows(loaded.config, forecast.rows.rows["train"])))
        if json:
            console.emit(forecast.to_json())
            return
        console.header("plan", f"{forecast.model}, {forecast.device}")
        _show_model(console, forecast)
        _show_work(console, forecast)
        _show_memory(console, forecast)
        _show_time(console, forecast)
        given: dict[str, object] = {"dataset": dataset, "config": config, "set": settings, "root": root}
        training: dict[str, object] = {
            "epochs": epochs,
            "batch-size": batch_size,
            "lora-rank": lora_rank,
            "quantization": quantization,
            "max-steps": max_steps,
        }
        if forecast.rows:
            console.next(write_command("qwenkit train", given | training))
        else:
            # The config may name the data set; where nothing does, this is an example.
            example = {} if dataset or loaded.config.dataset.name else {"dataset": "10k"}
            console.next(write_command("qwenkit prepare", given | example))


def _show_model(console: Console, forecast: "Forecast") -> None:
    total = sum(forecast.parameters.values())
    flops = forecast.flops_per_token
    rows = [[name, f"{count:,}", ""] for name, count in forecast.parameters.items() if count]
    rows.append(["all parameters", f"{total:,}", ""])
    rows.append(["trained", f"{forecast.trainable:,}", f"{forecast.trainable / total:.2%} of them"])
    at = f"at {forecast.mean_tokens:.0f} tokens a document"
    rows.append(["FLOPs a token, forward", _show_flops(flops["forward"]), at])
    rows.append(["FLOPs a token, step", _show_flops(flops["step"]), "forward and backward"])
    console.table("Model", ["part", "count", ""], rows, notes=True)


def _show_work(console: Console, forecast: "Forecast") -> None:
    facts, steps = forecast.rows, forecast.steps
    if facts is None or steps is None:
        console.info("rows: unknown, since nothing is prepared of this data set")
        return
    about = "about " if facts.is_estimate else ""
    rows = [
        ["training documents", f"{facts.rows['train']:,}", ""],
        ["tokens an epoch", f"{about}{facts.tokens['train']:,.0f}", ""],
        ["steps an epoch", f"{steps.per_epoch:,}", f"{steps.documents_per_step:,} documents each"],
        ["steps", f"{steps.total:,}", f"{steps.warmup:,} of them warm-up"],
        ["evaluations while training", f"{steps.evaluations:,}", ""],
        ["checkpoints", f"{steps.checkpoints:,}", f"{show_bytes(forecast.checkpoint_bytes)} each"],
    ]
    console.table("Work", ["what", "count", ""], rows, notes=True)
    console.info(f"tokens: {facts.source}")


def _show_memory(console: Console, forecast: "Forecast") -> None:
    total = sum(forecast.memory.values())
    rows = [[part, show_bytes(size)] for part, size in forecast.memory.items() if size]
    rows.append(["peak of a step", show_bytes(total)])
    console.table("Memory", ["part", "size"], rows)
    each = (forecast.memory["activations"] + forecast.memory["working memory"]) / forecast.micro_batch_tokens
    tokens = f"{forecast.micro_batch_tokens:,} tokens, padding included"
    console.info(f"largest micro-batch: {tokens}; {each / 2**20:.3g} MiB a token")
    available = forecast.device_bytes
    if available is not None and total > available:
        console.warn(
            f"{forecast.device} has {show_bytes(available)}, less than the peak: lower "
            "training.micro_batch_tokens or --batch-size, or set training.gradient_checkpointing=true."
        )


def _show_time(console: Console, forecast: "Forecast") -> None:
    rate, seconds = forecast.rate, forecast.seconds
    if rate is None:
        console.info("time: no like run was measured here; give --tokens-per-second")
    elif seconds is None:
        console.info("time: unknown without rows")
    else:
        console.info(f"rate: {rate.tokens_per_second:,.0f} tokens/s, {rate.source}")
        parts = f"training {show_time(seconds.training)}, evaluation {show_time(seconds.evaluation)}"
        console.info(f"time: {show_time(seconds.total)} ({parts})")


def show_bytes(size: float) -> str:
    """Write a size in MiB, from one tenth of a GiB on in GiB."""
    return f"{size / GIB:.2f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"


def _show_flops(count: float) -> str:
    return f"{count / 1e9:.3f} G" if count >= 1e8 else f"{count / 1e6:.3f} M"


def show_time(seconds: float) -> str:
    """Write a duration in the two units that say enough: 2 h 05 min, 3 min 20 s, 8 s."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"

"""What each step shows when it is done: row accounts, lengths, results."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qwenkit.console import Console
from qwenkit.text.leak_table import describe_audit, leak_table, leak_warnings
from qwenkit.training.schedule import count_steps

if TYPE_CHECKING:
    from qwenkit.data.prepared import PreparedData


# The table gives each two splits once; overlap.json has both ways.
VALIDATION_TEST = ("validation", "test")


def show_prepared(console: Console, prepared: "PreparedData") -> None:
    """Print the row accounting, the labels of each split, and what a person should know."""
    accounts = prepared.accounts
    reasons = list(next(iter(accounts.values())).dropped)
    dropped = [reason for reason in reasons if any(account.dropped[reason] for account in accounts.values())]
    rows = [
        [
            split,
            f"{account.rows_in:,}",
            *[f"{account.dropped[reason]:,}" for reason in dropped],
            f"{account.kept:,}",
        ]
        for split, account in accounts.items()
    ]
    console.table("Rows", ["as it came", "in", *[f"- {reason}" for reason in dropped], "= kept"], rows)
    table = prepared.labels
    counts = [
        [split, *[f"{table.counts[split][name]:,}" for name in table.names], f"{frame.height:,}"]
        for split, frame in prepared.splits.items()
    ]
    weights = ["class weight", *[f"{weight:.4f}" for weight in table.class_weights], ""]
    console.table("Splits", ["split", *table.names, "rows"], [*counts, weights])
    shown = [
        each
        for each in prepared.overlap
        if each.split != "train" and (each.split, each.other) != VALIDATION_TEST
    ]
    if any(each.exact or each.near for each in shown):
        overlaps = [
            [
                each.split,
                each.other,
                f"{each.rows:,}",
                f"{each.exact:,}",
                f"{each.near:,}",
                f"{each.near_share:.1%}",
            ]
            for each in shown
        ]
        headings = ["rows of", "also in", "clean rows", "exact copies", "near-duplicates", "share"]
        console.table("Overlap of the splits as they came", headings, overlaps)
    for note in prepared.notes:
        console.info(note)
    for warning in prepared.warnings:
        console.warn(warning)
    show_leaks(console, prepared.leaks)


def show_leaks(console: Console, leaks: Mapping[str, Any] | None) -> None:
    """Print what probes of the surface can tell; what is a flaw of the data is a warning."""
    if leaks is None:
        console.info("no leak audit: it is off (dataset.audit), or the rows are too few to tell anything")
        return
    columns, rows = leak_table(leaks)
    console.table("Leak audit", columns, rows, numbers=False)
    console.info(describe_audit(leaks))
    for warning in leak_warnings(leaks):
        console.warn(warning)


def describe_work(arguments: Any, tokenized: Any) -> str:
    """Say in a line what a training run is about to do.

    Args:
        arguments: The trainer's, in which a batch is a whole step.
        tokenized: The train split, as token ids.
    """
    documents = arguments.per_device_train_batch_size
    per_epoch = count_steps(len(tokenized), documents)
    by_epochs = math.ceil(per_epoch * arguments.num_train_epochs)
    steps = arguments.max_steps if arguments.max_steps > 0 else by_epochs
    parts = [f"{steps:,} steps of {min(documents, len(tokenized)):,} documents"]
    if "length" in tokenized.column_names:
        from qwenkit.tokens.tokenized import read_numbers

        tokens = int(read_numbers(tokenized, "length").sum()) * steps / per_epoch
        parts.append(f"about {tokens:,.0f} tokens")
    if arguments.world_size > 1:
        parts.append(f"on {arguments.world_size} ranks")
    if arguments.eval_strategy == "steps":
        parts.append(f"evaluated every {arguments.eval_steps:,.0f} steps")
    return ", ".join(parts)

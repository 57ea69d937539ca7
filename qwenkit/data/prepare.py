"""The stage itself: raw rows in; clean, labelled splits out, with every row accounted for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl

from qwenkit.config.problems import require_names
from qwenkit.config.schema_model import Dataset, Model
from qwenkit.config.schema_training import ClassWeights
from qwenkit.console import Console, safe_text
from qwenkit.data.augment import augment_train
from qwenkit.data.cleaning import SplitAccount, count_rows, describe_overlap, find_dropped
from qwenkit.data.frames import UNSPLIT, RawData, to_raw
from qwenkit.data.groups import GroupSummary, describe_groups, group_rows
from qwenkit.data.holdout import mark_held_out, name_split, place_held_out
from qwenkit.data.labels import LabelTable, choose_class_weights, count_labels, list_values
from qwenkit.data.loading import load_source
from qwenkit.data.overlap import describe_leaks, drop_leaks, find_leaks, measure_overlap
from qwenkit.data.prepared import PreparedData
from qwenkit.data.rows import build_frames, collect_rows, find_domain_column, restore_names
from qwenkit.data.sampling import add_left_out, limit_splits, sample_sources
from qwenkit.data.shards import refuse_lacking, refuse_mixed_labels
from qwenkit.data.sources import Source
from qwenkit.data.splits import choose_splits, place_rows
from qwenkit.errors import ConfigError, DataError
from qwenkit.stages import SPLITS
from qwenkit.text.attacks import ATTACKS, BY_MODEL
from qwenkit.text.normalize import RULES


@dataclass(frozen=True)
class LabelledRows:
    """One set of rows to be scored, never split: columns as in PreparedData.splits."""

    frame: pl.DataFrame
    account: SplitAccount
    domain_column: str | None
    notes: tuple[str, ...]


def prepare_splits(
    data: Any,
    *,
    model: Model,
    dataset: Dataset,
    class_weights: ClassWeights | None = None,
    positive_label: str | None = None,
    console: Console | None = None,
) -> PreparedData:
    """Clean, label and split raw rows.

    Given splits are kept. Validation or test, where missing, are cut from train, and a set in one piece is
    cut into all three, by dataset.split_ratios. `accounts` speaks of the splits as they came, `written` of
    the result.

    Args:
        data: A Source, a RawData, or rows in memory as `to_raw` takes them.
        class_weights: How classes are weighted; None is by inverse frequency.
        positive_label: None is the first label.
        console: Shows how far a long file is read.

    Raises:
        ConfigError: Settings contradict each other.
        DataError: A column is missing, no label is known, or a split or class ends up without rows.
    """
    raw = _load(data, model, dataset, console)
    labels = tuple(model.labels)
    positive = positive_label or labels[0]
    if positive not in labels:
        raise ConfigError(f"evaluation.positive_label is {positive}; model.labels has {', '.join(labels)}.")
    columns = {"text_column": model.text_column, "label_column": model.label_column}
    names = dict(
        zip(SPLITS, (dataset.train_split, dataset.validation_split, dataset.test_split), strict=True)
    )
    chosen, split_notes = choose_splits(raw.splits, names)
    sources = {split: restore_names(frame, **columns) for split, frame in chosen.items()}
    domain_column = find_domain_column(sources, dataset.domain_column)
    sources, left_out = sample_sources(
        sources,
        dataset.max_rows,
        ratios=dict(zip(SPLITS, dataset.split_ratios, strict=True)),
        **columns,
        domain_column=domain_column,
        seed=dataset.shuffle_seed,
    )
    require_names(dataset.normalize, RULES, setting="dataset.normalize")
    require_names(dataset.augment.attacks, [*ATTACKS, *BY_MODEL], setting="dataset.augment.attacks")
    rows, unknown, label_notes = collect_rows(
        sources,
        labels=labels,
        domain_column=domain_column,
        label_mapping=model.label_mapping,
        normalize=dataset.normalize,
        **columns,
    )
    marked = find_dropped(rows, deduplicate=dataset.deduplicate)
    grouped, groups, group_notes = group_rows(
        marked, sources, columns=dataset.group_columns, near_duplicates=dataset.near_duplicates
    )
    overlap = measure_overlap(grouped)
    placed, cut_notes = _place(mark_held_out(grouped, sources, dataset.holdout), dataset)
    accounts = add_left_out(count_rows(placed), {**raw.left_out, **left_out})
    found = build_frames(sources, placed, labels=labels, **columns)
    order = [*SPLITS, *dict.fromkeys(map(name_split, dataset.holdout))]
    frames = {split: found[split] for split in order if split in found}
    frames, augmented, added_notes = augment_train(
        frames, dataset.augment, normalize=dataset.normalize, seed=dataset.shuffle_seed
    )
    counts = {split: count_labels(frame["label_id"], labels) for split, frame in frames.items()}
    _require_rows(counts, accounts, groups, unknown)
    weights = _weigh_classes(frames["train"], labels, class_weights or ClassWeights())
    found_notes, warnings = zip(
        describe_groups(groups), describe_leaks(overlap, dataset.leakage), strict=True
    )
    facts = [*describe_overlap(marked), *group_notes, *chain(*found_notes)]
    facts += _describe(unknown, accounts, counts)
    prepared = PreparedData(
        splits=frames,
        labels=LabelTable(labels, counts, weights, positive),
        accounts=accounts,
        groups=groups,
        overlap=overlap,
        domain_column=domain_column,
        unknown_labels=unknown,
        notes=(*raw.notes, *split_notes, *label_notes, *cut_notes, *facts, *added_notes),
        warnings=tuple(chain(*warnings)),
        augmented=augmented,
    )
    if not dataset.audit:
        return prepared
    from qwenkit.data.audit import audit_prepared

    return audit_prepared(prepared, seed=dataset.shuffle_seed)


def prepare_labelled(data: Any, *, model: Model, normalize: Sequence[str] = ()) -> LabelledRows:
    """Clean and label rows for scoring: the test split where there are splits, else all rows.

    Only rows that cannot be scored are dropped (null, empty, unknown label); copies stay, as they are the
    user's choice. row_id counts through the rows of that split alone.

    Args:
        normalize: Rules of the model that will score them.

    Raises:
        DataError: A column is missing, no label is known, or no row is left.
    """
    raw = _load(data, model)
    name = "test" if "test" in raw.splits else next(iter(raw.splits))
    columns = {"text_column": model.text_column, "label_column": model.label_column}
    sources = {"test": restore_names(raw.splits[name], **columns)}
    rows, unknown, notes = collect_rows(
        sources,
        labels=model.labels,
        domain_column=None,
        label_mapping=model.label_mapping,
        normalize=normalize,
        **columns,
    )
    marked = find_dropped(rows, deduplicate=False)
    accounts = count_rows(marked)
    placed = marked.with_columns(destination=pl.when(pl.col("reason").is_null()).then("split"))
    frames = build_frames(sources, placed, labels=model.labels, **columns)
    _require_kept("test", accounts["test"], unknown)
    if unknown:
        notes.append(_describe_unknown(unknown))
    if len(raw.splits) > 1:
        notes.append(f'only the split "{safe_text(name)}" is scored')
    domain_column = find_domain_column(sources, None)
    return LabelledRows(frames["test"], accounts["test"], domain_column, (*raw.notes, *notes))


def _place(marked: pl.DataFrame, dataset: Dataset) -> tuple[pl.DataFrame, list[str]]:
    """Settle where every row goes: given, cut, held out, or dropped because another split holds its like."""
    ratios = dict(zip(SPLITS, dataset.split_ratios, strict=True))
    placed, notes = place_rows(
        drop_leaks(marked, dataset.leakage),
        ratios,
        seed=dataset.shuffle_seed,
        is_recut=dataset.leakage == "resplit" and UNSPLIT not in marked["split"],
    )
    limits = {
        "train": dataset.max_train_samples,
        "validation": dataset.max_validation_samples,
        "test": dataset.max_test_samples,
    }
    limited = limit_splits(place_held_out(placed), limits, seed=dataset.shuffle_seed)
    return find_leaks(limited), notes


def _load(data: Any, model: Model, dataset: Dataset | None = None, console: Console | None = None) -> RawData:
    """Read the rows; files that lack the text or the label, or hold the label otherwise, are refused."""
    raw = load_source(data, dataset, console=console) if isinstance(data, Source) else to_raw(data)
    refuse_lacking(
        raw.drift, {model.text_column: "model.text_column", model.label_column: "model.label_column"}
    )
    if not model.label_mapping:
        refuse_mixed_labels(raw.drift, model.label_column)
    return raw


def _weigh_classes(train: pl.DataFrame, labels: tuple[str, ...], settings: ClassWeights) -> tuple[float, ...]:
    weights = choose_class_weights(
        train["label_id"].to_numpy(),
        labels,
        enabled=settings.enabled,
        method=settings.method,
        manual_weights=settings.manual_weights,
    )
    # Through text, for 0.9998 instead of the 0.9998000264167786 that this float32 is as a float.
    return tuple(float(str(weight)) for weight in weights)


def _require_rows(
    counts: Mapping[str, Mapping[str, int]],
    accounts: Mapping[str, SplitAccount],
    groups: GroupSummary,
    unknown: Mapping[str, int],
) -> None:
    """Refuse what cannot be trained or scored: an empty split, a class without a training row."""
    for split, account in accounts.items():
        _require_kept(split, account, unknown)
    for split in SPLITS:
        if split not in counts:
            kept = sum(account.kept for account in accounts.values())
            is_grouped = groups.groups < groups.rows
            together = f" in {groups.groups:,} groups of near-duplicates or one source" if is_grouped else ""
            advice = (
                " Where they are no copies, raise dataset.near_duplicates.threshold." if is_grouped else ""
            )
            rows = "usable row" if kept == 1 else "usable rows"
            raise DataError(
                f"{kept:,} {rows}{together} {'is' if kept == 1 else 'are'} too few: {split} would be empty. "
                f"Add rows, or give it a larger share in dataset.split_ratios.{advice}"
            )
    lacking = [label for label, count in counts["train"].items() if not count]
    if lacking:
        names = ", ".join(map(safe_text, lacking))
        raise DataError(
            f"train has no row of {names}; it has {list_values(counts['train'])}. Add rows of it, or take it "
            "out of model.labels."
        )


def _require_kept(split: str, account: SplitAccount, unknown: Mapping[str, int]) -> None:
    if not account.kept:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in account.dropped.items() if count)
        what = "no row" if split == UNSPLIT else f"no row of {split}"
        advice = "Are model.text_column and model.label_column the right ones?"
        if account.dropped["unknown_label"]:
            advice = f"Unknown labels: {list_values(unknown)}. Name them in model.label_mapping."
        raise DataError(f"{what} is usable: {account.rows_in:,} in, dropped {reasons}. {advice}")


def _describe(
    unknown: Mapping[str, int],
    accounts: Mapping[str, SplitAccount],
    counts: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """Say what the numbers alone would not tell."""
    notes = [_describe_unknown(unknown)] if unknown else []
    conflicts = sum(account.dropped["conflicting_label"] for account in accounts.values())
    if conflicts:
        notes.append(f"{conflicts:,} rows hold a text that stands under several labels, and are dropped")
    lacking = [
        f"{split} has no row of {safe_text(label)}: some scores cannot be computed"
        for split in ("validation", "test")
        for label, count in counts[split].items()
        if not count
    ]
    return [*notes, *lacking]


def _describe_unknown(unknown: Mapping[str, int]) -> str:
    return f"labels that are not in model.labels, rows dropped: {list_values(unknown)}"

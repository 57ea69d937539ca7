"""Attacked copies of training rows, so that a model learns to see through the attacks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from qwenkit.config.schema_model import Augment
from qwenkit.errors import ArtifactError
from qwenkit.files import hash_tree
from qwenkit.text.attacks import attack_text
from qwenkit.text.normalize import normalize_text
from qwenkit.text.paraphrase import MODEL_FILES, PARAPHRASE, Paraphraser

# A variant carries its source's group, label and other columns; these two say what it is.
ATTACK_COLUMN = "augmented_by"
SOURCE_COLUMN = "augmented_from"

Attacker = Callable[[str, int], str]


def augment_train(
    splits: Mapping[str, pl.DataFrame], settings: Augment, *, normalize: Sequence[str], seed: int
) -> tuple[dict[str, pl.DataFrame], dict[str, int], list[str]]:
    """Add attacked copies to the train split, the same share of each class, so that no attack is a clue.

    A variant is what is left of the attack after the rules of normalisation, for that is what the model will
    see of such a text; one that equals a text of any split is not added.

    Args:
        splits: Columns row_id, text, label_id and any others; all others are copied from the source row.
        normalize: Rules that the rows have been through.
        seed: Decides the rows and what is changed in them.

    Returns:
        All splits, with two columns more: augmented_by (the attack; null for rows as they came) and
        augmented_from (row_id of the source); how many variants each attack added; and notes. Where no attack
        is named all is as it was.
    """
    if "train" not in splits or not settings.attacks:
        return dict(splits), {}, []
    marked = {
        split: frame.with_columns(
            pl.lit(None, pl.String).alias(ATTACK_COLUMN), pl.lit(None, pl.Int64).alias(SOURCE_COLUMN)
        )
        for split, frame in splits.items()
    }
    counts: dict[str, int] = {}
    known = pl.concat(frame.select("text") for frame in splits.values())
    next_id = max(int(frame["row_id"].max() or 0) for frame in splits.values()) + 1  # type: ignore[arg-type]
    parts = [marked["train"]]
    for name in settings.attacks:
        attack = _choose_attack(name, settings, normalize=normalize, seed=seed)
        variants = _make_variants(marked["train"], name, attack, share=settings.share, seed=seed).join(
            known, on="text", how="anti", maintain_order="left"
        )
        # Two sources may lead to one text; all columns of the first are kept.
        variants = variants.unique("text", keep="first", maintain_order=True)
        ids = pl.int_range(next_id, next_id + variants.height, eager=True, dtype=pl.Int64)
        parts.append(variants.with_columns(ids.alias("row_id")).select(marked["train"].columns))
        known = pl.concat([known, variants.select("text")])
        next_id += variants.height
        counts[name] = variants.height
    notes = describe_augmentation(counts, wanted=round(settings.share * splits["train"].height))
    return {**marked, "train": pl.concat(parts)}, counts, notes


def identify_paraphraser(settings: Augment) -> dict[str, str]:
    """Identify the paraphraser by its files, where one is used: other weights write other texts.

    Raises:
        ArtifactError: It is no folder.
    """
    if PARAPHRASE not in settings.attacks or settings.paraphraser is None:
        return {}
    folder = Path(settings.paraphraser)
    if not folder.is_dir():
        raise ArtifactError(f"dataset.augment.paraphraser: {folder} is no folder of a downloaded model.")
    return {"paraphraser": hash_tree(folder, MODEL_FILES)}


def _choose_attack(name: str, settings: Augment, *, normalize: Sequence[str], seed: int) -> Attacker:
    if name != PARAPHRASE:
        return lambda text, row_id: normalize_text(
            attack_text(name, text, seed=seed, row_id=row_id), normalize
        )
    prompt = settings.paraphrase_prompt
    paraphraser = Paraphraser.from_folder(settings.paraphraser or "", prompt=prompt)
    return lambda text, row_id: normalize_text(paraphraser.rewrite(text, seed=seed, row_id=row_id), normalize)


def _make_variants(
    train: pl.DataFrame, name: str, attack: Attacker, *, share: float, seed: int
) -> pl.DataFrame:
    """Attack rows of every class in a drawn order until the share is reached or none is left."""
    label_ids = train["label_id"].to_numpy()
    # By name too, so that each attack gets rows of its own.
    order = np.random.default_rng([seed, *name.encode()]).permutation(train.height)
    texts, row_ids = train["text"], train["row_id"]
    chosen: dict[int, str] = {}
    for label_id in np.unique(label_ids).tolist():
        wanted = round(share * int((label_ids == label_id).sum()))
        of_class = 0
        for row in order[label_ids[order] == label_id].tolist():
            if of_class >= wanted:
                break
            text = texts[row]
            attacked = attack(text, int(row_ids[row]))
            # Numbers are altered only where there are some; other rows take the place of those without.
            if attacked != text and attacked.strip():
                chosen[row] = attacked
                of_class += 1
    rows = sorted(chosen)
    variants = train[rows]
    return variants.with_columns(
        pl.Series("text", [chosen[row] for row in rows], dtype=pl.String),
        pl.lit(name).alias(ATTACK_COLUMN),
        variants["row_id"].cast(pl.Int64).alias(SOURCE_COLUMN),
    )


def describe_augmentation(counts: Mapping[str, int], *, wanted: int) -> list[str]:
    """Say how many variants there are, and which attack found too little to change."""
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    notes = [f"{sum(counts.values()):,} attacked copies of training rows added: {listed}"]
    few = [name for name, count in counts.items() if count < 0.9 * wanted]
    if few:
        notes.append(
            f"fewer copies than dataset.augment.share asks for ({wanted:,} each) by {', '.join(few)}: too "
            "few texts have what it changes, or dataset.normalize undoes it"
        )
    return notes

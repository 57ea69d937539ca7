"""Scoring what a robustness section needs: attacked texts, texts cut short, and held-out splits.

Each pass is kept by its fingerprint, which is that of the model and of the very texts: measuring again needs
no model, and a pass that was interrupted is not lost with the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.evaluation.challenges import ATTACK, HELD_OUT, LENGTH, Challenges, HeldOut, Variant
from qwenkit.evaluation.kept_arrays import KeptArrays, hash_texts
from qwenkit.ranks import find_ranks
from qwenkit.steps.labelled import LabelledSet
from qwenkit.steps.scoring import GiveModel, score_ids
from qwenkit.text.attacks import ATTACKS, attack_text
from qwenkit.text.normalize import normalize_text

if TYPE_CHECKING:
    from qwenkit.modeling.bundle import Bundle

SHORTEST_TOKENS = 32
SCORED_STAGE = "scored"
SCORED_REVISION = 1
"""Counted up when a pass is scored otherwise."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Some texts to score, and the most tokens of each; None leaves the cut to the model's own settings."""

    kind: str
    name: str
    texts: Sequence[str]
    max_tokens: int | None = None


class PassScorer:
    """Scores passes that were not scored before; the model is asked for only then."""

    def __init__(
        self,
        cache: Path,
        *,
        model_fingerprint: str,
        give_model: GiveModel,
        bundle: "Bundle",
        config: Config,
        console: Console,
    ) -> None:
        """Remember where passes are kept.

        Args:
            cache: A folder for each pass is made in it, named by fingerprint.
        """
        self._cache = cache
        self._fingerprint = model_fingerprint
        self._give_model = give_model
        self._bundle = bundle
        self._config = config
        self._console = console
        self._clean: tuple[Sequence[str], list[list[int]]] = ((), [])

    def score(
        self, one: Pass, *, clean_texts: Sequence[str] = (), clean_logits: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score one pass, or take it from the cache.

        Args:
            clean_texts, clean_logits: The same rows as they are. Where a row's tokens are still those, so are
                its logits.

        Returns:
            Logits, shape (rows, classes), and which rows have other tokens than the clean text (rows,).
        """
        identity = {
            "model": self._fingerprint,
            "texts": hash_texts(one.texts),
            "clean": hash_texts(clean_texts),
            "max_tokens": one.max_tokens,
        }
        kept = KeptArrays(cache=self._cache, stage=SCORED_STAGE, revision=SCORED_REVISION, identity=identity)
        ranks = find_ranks()
        arrays = ranks.hand_out(lambda: kept.read(("logits", "is_changed")))
        if arrays is not None:
            return arrays["logits"], arrays["is_changed"]
        logits, is_changed = self._score_changed(one, clean_texts, clean_logits)
        if ranks.is_main:
            counts = {"rows": len(logits), "kind": one.kind, "name": one.name}
            kept.write({"logits": logits, "is_changed": is_changed}, counts=counts)
        return logits, is_changed

    def _score_changed(
        self, one: Pass, clean_texts: Sequence[str], clean_logits: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        input_ids = self._encode(one.texts, one.max_tokens)
        what = f"{one.name} ({one.kind})"
        if clean_logits is None:
            return self._score_ids(input_ids, what), np.ones(len(input_ids), dtype=bool)
        pairs = zip(input_ids, self._encode_clean(clean_texts), strict=True)
        is_changed = np.array([ids != clean for ids, clean in pairs], dtype=bool)
        logits = clean_logits.astype(np.float32)
        if is_changed.any():
            logits[is_changed] = self._score_ids([input_ids[row] for row in np.flatnonzero(is_changed)], what)
        return logits, is_changed

    def _encode_clean(self, texts: Sequence[str]) -> list[list[int]]:
        # All passes change the same texts.
        if self._clean[0] is not texts:
            self._clean = (texts, self._encode(texts, None))
        return self._clean[1]

    def _encode(self, texts: Sequence[str], max_tokens: int | None) -> list[list[int]]:
        from qwenkit.tokens.encoding import encode_texts

        return encode_texts(
            texts,
            tokenizer=self._give_model()[1],
            max_length=max_tokens or self._bundle.max_length,
            truncation=max_tokens is not None or self._bundle.tokenizer.truncation,
            normalisation=self._bundle.normalisation,
        )

    def _score_ids(self, input_ids: list[list[int]], what: str) -> np.ndarray:
        options: dict[str, Any] = {"bundle": self._bundle, "config": self._config, "console": self._console}
        return score_ids(self._give_model()[0], input_ids, what=what, **options)


def score_challenges(
    rows: LabelledSet,
    scored: tuple[np.ndarray, np.ndarray],
    give_model: GiveModel,
    *,
    cache: Path,
    model_fingerprint: str,
    bundle: "Bundle",
    config: Config,
    console: Console,
) -> Challenges:
    """Score a sample of rows under every attack and cut to every length, and samples of held-out splits.

    Args:
        scored: Logits and row ids of the rows as they are.
        cache: Keeps every pass by its fingerprint.
    """
    settings = config.evaluation
    scorer = PassScorer(
        cache,
        model_fingerprint=model_fingerprint,
        give_model=give_model,
        bundle=bundle,
        config=config,
        console=console,
    )
    draw = partial(
        sample_evenly,
        strata=["label_id", *rows.slice_columns],
        size=settings.robustness_rows,
        seed=settings.seed,
    )
    logits, row_ids = scored
    in_order = pl.DataFrame({"row_id": row_ids}).join(
        rows.frame, on="row_id", how="left", maintain_order="left"
    )
    places = draw(in_order)
    sample, clean_logits = in_order[places], logits[places]
    texts = sample["text"].to_list()
    console.info(f"robustness: {len(texts):,} rows under {len(ATTACKS)} attacks and cut short")
    passes = plan_passes(
        texts,
        sample["row_id"].to_list(),
        seed=settings.seed,
        normalisation=bundle.normalisation,
        max_length=bundle.max_length,
    )
    variants = []
    for one in passes:
        changed_logits, is_changed = scorer.score(one, clean_texts=texts, clean_logits=clean_logits)
        variants.append(Variant(kind=one.kind, name=one.name, logits=changed_logits, is_changed=is_changed))
    held_out = []
    for name, frame in rows.held_out.items():
        drawn = frame[draw(frame)]
        held_out_logits, _ = scorer.score(Pass(kind=HELD_OUT, name=name, texts=drawn["text"].to_list()))
        held_out.append(HeldOut(name=name, rows=drawn, logits=held_out_logits))
    return Challenges(row_ids=sample["row_id"].to_numpy(), variants=variants, held_out=held_out)


def plan_passes(
    texts: Sequence[str],
    row_ids: Sequence[int],
    *,
    seed: int,
    normalisation: Sequence[str],
    max_length: int,
) -> Iterator[Pass]:
    """Change texts in one way after another: each attack at RAID's own rate, then each length.

    What is left of an attack after the model's rules of normalisation is what it sees of such a text. A text
    of which nothing is left stays as it is.
    """
    for name in ATTACKS:
        attacked = [
            normalize_text(attack_text(name, text, seed=seed, row_id=row_id), normalisation)
            for text, row_id in zip(texts, row_ids, strict=True)
        ]
        kept = [new if new.strip() else old for new, old in zip(attacked, texts, strict=True)]
        yield Pass(kind=ATTACK, name=name, texts=kept)
    for tokens in list_lengths(max_length):
        yield Pass(kind=LENGTH, name=str(tokens), texts=texts, max_tokens=tokens)


def list_lengths(max_length: int) -> list[int]:
    """List the lengths of the curve: 32, 64, 128 ... up to the model's own, which is the last."""
    lengths = []
    tokens = SHORTEST_TOKENS
    while tokens < max_length:
        lengths.append(tokens)
        tokens *= 2
    return [*lengths, max_length]


def sample_evenly(rows: pl.DataFrame, strata: Sequence[str], *, size: int, seed: int) -> np.ndarray:
    """Draw row numbers so that each stratum has its share of them, give or take one; sorted.

    Args:
        strata: Columns whose combined values make the strata; those that are not there are left out.
    """
    if rows.height <= size:
        return np.arange(rows.height)
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows.height)
    stratum = rows.select(
        pl.struct([name for name in strata if name in rows.columns]).rank("dense")
    ).to_series()
    order = order[np.argsort(stratum.to_numpy()[order], kind="stable")]
    # Every so many-th of the rows in the order of their strata.
    steps = (np.arange(size) + rng.random()) * rows.height / size
    return np.sort(order[steps.astype(np.int64)])

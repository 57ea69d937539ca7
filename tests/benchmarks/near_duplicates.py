"""How well near-duplicates are found: against comparing all with all, and by attack, on real text."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from qwenkit.config.schema_model import NearDuplicates
from qwenkit.data.components import join_labels
from qwenkit.data.demo.corpus import read_corpus
from qwenkit.data.duplicates import MIN_WORDS, NearDuplicateRule, find_clusters
from qwenkit.data.shingles import hash_shingles
from qwenkit.text.attacks import ATTACKS, attack_text
from qwenkit.text.folding import fold_for_comparison
from tests.data.documents import replace_words

DOCUMENTS = 5_000
SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)


def benchmark_against_brute_force() -> Iterator[dict[str, Any]]:
    """Precision and recall of grouping 5,000 documents: half real passages, half changed copies, by pairs.

    Copies have 5 to 50 % of their words replaced, so that their similarities lie all around the threshold.
    """
    rule = default_rule()
    originals = read_passages()[: DOCUMENTS // 2]
    dice = random.Random(0)
    texts = pl.Series(
        originals + [replace_words(text, dice, share=dice.choice(SHARES)) for text in originals]
    )
    first, second, similarity = compare_all(texts, rule)
    is_pair = similarity >= rule.threshold
    real = join_labels(np.arange(len(texts)), first[is_pair], second[is_pair])
    found = find_clusters(texts, rule)
    pairs = int(is_pair.sum())
    recall = float((found[first] == found[second])[is_pair].mean())
    yield describe("near-duplicate pairs found", recall, unit=f"share of {pairs:,}", reference=1.0)
    for low, high in ((0.3, 0.4), (0.4, 0.5), (0.5, 1.01)):
        within = (similarity >= low) & (similarity < high)
        share = float((found[first] == found[second])[within].mean())
        name = f"near-duplicate pairs of similarity {low} to {min(high, 1.0)} found"
        yield describe(name, share, unit=f"share of {int(within.sum()):,}", reference=1.0)
    joined = list_joined(found)
    precision = float((real[joined[0]] == real[joined[1]]).mean())
    yield describe(
        "near-duplicate pairs that are true", precision, unit=f"share of {joined.shape[1]:,}", reference=1.0
    )


def benchmark_attacks() -> Iterator[dict[str, Any]]:
    """Share of attacked passages that are grouped with their original, by attack, and of false joins."""
    rule = default_rule()
    originals = read_passages()[:1_000]
    changes: dict[str, Callable[[int, str], str]] = {
        f"the attack {name}": lambda place, text, name=name: attack_text(name, text, seed=0, row_id=place)  # type: ignore[misc]
        for name in ATTACKS
    }
    for share in (0.2, 0.3, 0.5):
        changes[f"{share:.0%} other words"] = lambda place, text, share=share: replace_words(  # type: ignore[misc]
            text, random.Random(place), share=share
        )
    for name, change in changes.items():
        changed = [change(place, text) for place, text in enumerate(originals)]
        found = find_clusters(pl.Series(originals + changed), rule)
        place = np.arange(len(originals))
        recall = float((found[place] == found[place + len(originals)]).mean())
        untouched = sum(one == other for one, other in zip(originals, changed, strict=True)) / len(originals)
        yield {
            **describe(f"copies found after {name}", recall, unit="share found", reference=1.0),
            "unchanged": round(untouched, 3),
        }
    passages = read_passages()
    joined = list_joined(find_clusters(pl.Series(passages), rule)).shape[1]
    yield {"name": "unrelated passages joined", "value": joined, "unit": f"pairs among {len(passages):,}"}


def compare_all(texts: pl.Series, rule: NearDuplicateRule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the Jaccard similarity of every two texts that share a shingle at all.

    Returns:
        First and second place of each pair, and its similarity.
    """
    from scipy.sparse import csr_array, triu

    shingles = hash_shingles(fold_for_comparison(texts), words=rule.shingle_words, min_words=MIN_WORDS)
    _, columns = np.unique(shingles.hashes, return_inverse=True)
    rows = np.repeat(np.arange(len(texts)), shingles.counts)
    sets = csr_array(
        (np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(len(texts), columns.max() + 1)
    )
    sets.sum_duplicates()
    sets.data[:] = 1
    sizes = np.diff(sets.indptr)
    shared = triu(sets @ sets.T, k=1).tocoo()
    unions = sizes[shared.row] + sizes[shared.col] - shared.data
    return shared.row, shared.col, shared.data / unions


def list_joined(labels: np.ndarray) -> np.ndarray:
    """List every two rows of one cluster, shape (2, pairs)."""
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    pairs = [np.stack(np.triu_indices(len(each), k=1)) for each in members]
    return np.concatenate([each[pair] for each, pair in zip(members, pairs, strict=True)], axis=1)


def default_rule() -> NearDuplicateRule:
    settings = NearDuplicates()
    return NearDuplicateRule(settings.threshold, settings.shingle_words, settings.permutations)


def read_passages() -> list[str]:
    """Read the demo's human passages in a fixed random order: 2,800 paragraphs of technical prose."""
    passages = [passage.text for passage in read_corpus()]
    random.Random(0).shuffle(passages)
    return passages


def describe(name: str, value: float, *, unit: str, reference: float) -> dict[str, Any]:
    ratio = round(value / reference, 4)
    return {"name": name, "value": round(value, 4), "unit": unit, "reference": reference, "ratio": ratio}

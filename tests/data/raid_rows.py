"""Files like RAID's train.csv with made-up texts: every generator, attack and decoding; quotes, newlines."""

from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import numpy as np
import polars as pl

from tests.data.documents import make_words

DOMAINS = ("abstracts", "books", "news", "poetry", "recipes", "reddit", "reviews", "wiki")
GENERATORS = (
    *("chatgpt", "cohere", "cohere-chat", "gpt2", "gpt3", "gpt4"),
    *("llama-chat", "mistral", "mistral-chat", "mpt", "mpt-chat"),
)
ATTACKS = (
    *("none", "alternative_spelling", "article_deletion", "homoglyph", "insert_paragraphs", "number"),
    *("paraphrase", "perplexity_misspelling", "synonym", "upper_lower", "whitespace", "zero_width_space"),
)
DECODINGS = ("greedy", "sampling")
ROWS_A_SOURCE = len(ATTACKS) * (1 + len(GENERATORS) * len(DECODINGS))
"""Every human text comes once with each attack, and so does each continuation of it: 276 rows."""
BLOCK_ROWS = 10_000


def write_raid_csv(path: Path, n_rows: int, *, mean_words: int = 30, seed: int = 0) -> Path:
    """Write a file with RAID's columns, in a random order of the rows, a block at a time.

    Args:
        mean_words: Of a text; 290 words are RAID's 1,750 characters.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        for place, block in enumerate(make_raid_rows(n_rows, mean_words=mean_words, seed=seed)):
            file.write(block.write_csv(include_header=place == 0))
    return path


def make_raid_rows(n_rows: int, *, mean_words: int = 30, seed: int = 0) -> Iterator[pl.DataFrame]:
    """Make up the rows of such a file."""
    rng = np.random.default_rng(seed)
    words = np.array(make_words(5000, rng))
    places = rng.permutation(n_rows)
    for start in range(0, n_rows, BLOCK_ROWS):
        rows = [_describe_row(int(place)) for place in places[start : start + BLOCK_ROWS]]
        texts = [_write_text(words, rng, mean_words) for _ in rows]
        yield pl.DataFrame(rows, infer_schema_length=None).with_columns(generation=pl.Series(texts))


def _describe_row(place: int) -> dict[str, str | None]:
    source, rest = divmod(place, ROWS_A_SOURCE)
    version, attack = divmod(rest, len(ATTACKS))
    generator, decoding = divmod(version - 1, len(DECODINGS))
    is_human = version == 0
    return {
        "id": _make_id(source, version, attack),
        "adv_source_id": _make_id(source, version, 0),
        "source_id": _make_id(source, 0, 0),
        "model": "human" if is_human else GENERATORS[generator],
        "decoding": None if is_human else DECODINGS[decoding],
        "repetition_penalty": None if is_human else "no",
        "attack": ATTACKS[attack],
        "domain": DOMAINS[source % len(DOMAINS)],
        "title": f'Of "things", part {source}',
        "prompt": None if is_human else "Write about:\nthings",
    }


def _write_text(words: np.ndarray, rng: np.random.Generator, mean_words: int) -> str:
    drawn = words[rng.integers(len(words), size=int(rng.integers(mean_words // 2, mean_words * 3 // 2)))]
    half = len(drawn) // 2
    return " ".join(drawn[:half]) + '\n"Well," she said,\r\n\n' + " ".join(drawn[half:])


def _make_id(source: int, version: int, attack: int) -> str:
    digest = md5(f"{source} {version} {attack}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))

"""Texts and rows, encoded as the tests of encoding want them."""

import datasets
import polars as pl
from transformers import PreTrainedTokenizerFast

from qwenkit.console import Console
from qwenkit.tokens.encoding import encode_dataset, encode_texts

LONG = 10**9


def encode_one(text: str, tokenizer: PreTrainedTokenizerFast, max_length: int = LONG) -> list[int]:
    return encode_texts([text], tokenizer=tokenizer, max_length=max_length)[0]


def make_rows(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": [10 * index for index in range(len(texts))],
            "domain": ["news"] * len(texts),
            "text": texts,
            "label_id": [index % 2 for index in range(len(texts))],
        }
    )


def encode_rows(
    rows: pl.DataFrame | datasets.Dataset, tokenizer: PreTrainedTokenizerFast, **options: int | bool
) -> datasets.Dataset:
    return encode_dataset(
        rows, tokenizer=tokenizer, console=Console(quiet=True), **{"max_length": 16, **options}
    )

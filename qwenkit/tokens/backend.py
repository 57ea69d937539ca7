"""The tokenizer's own Rust side, called so that every text has its ids and every row without any is named.

Imports nothing heavy: the processes that tokenize start with it.
"""

from collections.abc import Sequence
from typing import Any

from qwenkit.console import safe_text
from qwenkit.errors import DataError
from qwenkit.text.normalize import normalize_text


def normalize_texts(texts: Sequence[str], rules: Sequence[str]) -> Sequence[str]:
    """Apply the rules of normalisation that a model wants."""
    if not rules:
        return texts
    # What is no text is refused further on, with the row's name.
    return [normalize_text(text, rules) if isinstance(text, str) else text for text in texts]


def encode_with_backend(
    texts: Sequence[str], backend: Any, limit: int | None, row_ids: Sequence[int]
) -> tuple[list[list[int]], list[int]]:
    """Encode with the tokenizer's Rust side; transformers' own call does the same and takes twice as long.

    Args:
        limit: Most tokens of a text, those put around it included; None cuts nothing.
        row_ids: What errors call the rows.

    Returns:
        Token ids of each row, and its length before the cut.

    Raises:
        DataError: A text is not text, or has nothing but white space, or has no tokens.
    """
    refuse_empty(texts, row_ids)
    prepare_backend(backend)
    n_added = backend.num_special_tokens_to_add(False)
    try:
        encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    except TypeError:
        # Half of a surrogate pair is no character, and cannot leave Python as UTF-8.
        raise DataError(_describe_broken(texts, row_ids)) from None
    full_lengths = [len(encoding) + n_added for encoding in encodings]
    refuse_without_tokens(full_lengths, texts, row_ids)
    if limit is not None:
        for encoding in encodings:
            encoding.truncate(max(limit - n_added, 0))
    if n_added:
        encodings = [backend.post_process(encoding) for encoding in encodings]
    return [encoding.ids for encoding in encodings], full_lengths


def prepare_backend(backend: Any) -> None:
    """Undo what a call of transformers may have left behind: cut, padding, special tokens found in text."""
    # Only where needed: each change locks out the other threads.
    if not backend.encode_special_tokens:
        backend.encode_special_tokens = True
    if backend.truncation is not None:
        backend.no_truncation()
    if backend.padding is not None:
        backend.no_padding()


def refuse_empty(texts: Sequence[str], row_ids: Sequence[int]) -> None:
    """Refuse what is no text, and texts in which there is nothing to read.

    Raises:
        DataError: With the row's name.
    """
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"row {row_ids[index]} holds {type(text).__name__} where text is expected.")
        if not text or text.isspace():
            raise DataError(_describe_empty(index, texts, row_ids))


def refuse_without_tokens(full_lengths: Sequence[int], texts: Sequence[str], row_ids: Sequence[int]) -> None:
    """Refuse a text of which the tokenizer leaves nothing.

    Raises:
        DataError: With the row's name.
    """
    if 0 in full_lengths:
        raise DataError(_describe_empty(full_lengths.index(0), texts, row_ids))


def _describe_empty(index: int, texts: Sequence[str], row_ids: Sequence[int]) -> str:
    shown = safe_text(repr(texts[index]), limit=40)
    return f"row {row_ids[index]} has no text to read ({shown}): drop it; an empty text cannot be classified."


def _describe_broken(texts: Sequence[str], row_ids: Sequence[int]) -> str:
    for row_id, text in zip(row_ids, texts, strict=True):
        if any("\ud800" <= character <= "\udfff" for character in text):
            return f"row {row_id} holds half a character (a lone surrogate), which is no valid text: mend it."
    return f"rows {row_ids[0]} to {row_ids[-1]} hold text that cannot be encoded."

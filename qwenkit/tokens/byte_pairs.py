"""A byte-level BPE run by tiktoken, several times faster than the tokenizer's own library, with the same ids.

It is built from the tokenizer's own vocabulary. That tiktoken merges as the tokenizer does is proven from the
vocabulary (`_list_ranks`); that it splits and normalises alike is what tokens/gate.py compares.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tokenizers import models

# tiktoken's regex engine runs out of stack in a run of a million spaces; the library reads what is longer.
LONGEST_TEXT = 1 << 16

# What the ByteLevel step of the library splits by when it is told to split.
_GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_TRAITS_OF_MODEL = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "byte_fallback": False,
}


class UnsupportedTokenizer(Exception):
    """The tokenizer does something that tiktoken cannot; the message says what, for people."""


class BytePairEncoder:
    """Encodes texts with tiktoken, and those that it must not touch with the tokenizer's own library."""

    def __init__(self, backend: Any) -> None:
        """Build it from a tokenizer's Rust side, as `prepare_backend` left it.

        Raises:
            UnsupportedTokenizer: It is no byte-level BPE, or one with a step that is not known here.
        """
        import tiktoken

        self._backend = backend
        content = json.loads(backend.to_str())
        self.pattern = find_pattern(content["pre_tokenizer"])
        ranks = _list_ranks(content, backend)
        # Its own normaliser: Python's tables of Unicode may be of another version.
        self._normalize = backend.normalizer.normalize_str if content["normalizer"] else str
        self._keeps_ascii = content["normalizer"] in (None, {"type": "NFC"})
        self._added = _match_added_tokens(content["added_tokens"])
        self._before, self._after = _find_tokens_around(backend)
        self._core = tiktoken.Encoding(
            "from the tokenizer's vocabulary", pat_str=self.pattern, mergeable_ranks=ranks, special_tokens={}
        )
        self._byte_counts = np.zeros(max(ranks.values()) + 1, dtype=np.int64)
        self._byte_counts[list(ranks.values())] = [len(token) for token in ranks]

    def encode(self, texts: Sequence[str], limit: int | None) -> tuple[list[np.ndarray], list[int]]:
        """Encode texts that hold something to read; the rest is as in `encode_with_backend`."""
        n_added = len(self._before) + len(self._after)
        whole = [self._encode_one(text) for text in texts]
        kept = whole if limit is None else [ids[: max(limit - n_added, 0)] for ids in whole]
        if n_added:
            kept = [np.concatenate([self._before, ids, self._after]) for ids in kept]
        return kept, [len(ids) + n_added for ids in whole]

    def _encode_one(self, text: str) -> np.ndarray:
        if len(text) <= LONGEST_TEXT and not (self._added and self._added.search(text)):
            normalized = text if self._keeps_ascii and text.isascii() else self._normalize(text)
            ids = np.asarray(self._core.encode_ordinary(normalized), dtype=np.int32)
            # A byte-level BPE loses nothing: a pattern that leaves characters out would show here.
            size = len(normalized) if normalized.isascii() else len(normalized.encode())
            if self._byte_counts[ids].sum() == size:
                return ids
        encoding = self._backend.encode_batch_fast([text], add_special_tokens=False)[0]
        return np.asarray(encoding.ids, dtype=np.int32)


def find_pattern(pre_tokenizer: Mapping[str, Any] | None) -> str:
    """Find the regular expression by which text is cut before anything is merged."""
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return _GPT2_PATTERN
        case {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": str(pattern)},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return pattern
    kind = pre_tokenizer["type"] if pre_tokenizer else "none"
    raise UnsupportedTokenizer(f"its way to split text is not known ({kind})")


def _list_ranks(content: Mapping[str, Any], backend: Any) -> dict[bytes, int]:
    """List the bytes of every token, and make sure that tiktoken merges them as the tokenizer does.

    tiktoken merges any two neighbours whose bytes make a token, lowest id first; the tokenizer only the pairs
    of its list, first in the list first. Both build a token, wherever it stands, from the one pair that is
    left when its bytes are merged alone: merges that cross its ends would have taken it apart. So if every
    token's own bytes give that token, and the list is in the order of the ids, no text can tell the two
    apart. A token that its own bytes do not give is never built, and is left out.
    """
    model = content["model"]
    differing = [
        name for name, wanted in _TRAITS_OF_MODEL.items() if (model.get(name) or None) != (wanted or None)
    ]
    if differing:
        raise UnsupportedTokenizer(f"it is no plain byte-level BPE ({', '.join(differing)})")
    vocabulary = model["vocab"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    made = [vocabulary["".join(pair)] for pair in pairs]
    if made != sorted(made):
        raise UnsupportedTokenizer("its merges are not in the order of its ids")
    added = {token["content"] for token in content["added_tokens"]}
    # Told to ignore them, a model gives a whole word that is a token without any merge.
    merging = (
        models.BPE(vocabulary, [tuple(pair) for pair in pairs])
        if model.get("ignore_merges")
        else backend.model
    )
    tokenize = merging.tokenize
    ranks, n_unreachable = {}, 0
    for token, token_id in vocabulary.items():
        if token in added:
            continue
        if [part.id for part in tokenize(token)] == [token_id]:
            ranks[to_bytes(token)] = token_id
        else:
            n_unreachable += 1
    if n_unreachable and model.get("ignore_merges"):
        raise UnsupportedTokenizer(f"{n_unreachable:,} of its tokens are whole words that no merges give")
    if sum(len(token) == 1 for token in ranks) < 256:
        raise UnsupportedTokenizer("its vocabulary lacks single bytes")
    return ranks


def to_bytes(token: str) -> bytes:
    """Give the bytes that a token of a byte-level vocabulary stands for."""
    try:
        return bytes(_BYTE_OF[character] for character in token)
    except KeyError:
        raise UnsupportedTokenizer("its vocabulary is not written in bytes") from None


def _list_byte_characters() -> dict[str, int]:
    """Map each character of a byte-level vocabulary to its byte: GPT-2's table."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _list_byte_characters()


def _match_added_tokens(added_tokens: Sequence[Mapping[str, Any]]) -> "re.Pattern[str] | None":
    """Match the tokens that are found in text before it is split: all added ones but the special."""
    found = [token for token in added_tokens if not token["special"]]
    if any(token["normalized"] for token in found):
        raise UnsupportedTokenizer("it looks for added tokens in normalised text")
    contents = sorted(token["content"] for token in found)
    return re.compile("|".join(map(re.escape, contents))) if contents else None


def _find_tokens_around(backend: Any) -> tuple[np.ndarray, np.ndarray]:
    """Find the tokens that the tokenizer puts before and after every text; Qwen's puts none."""
    if not backend.num_special_tokens_to_add(False):
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)
    plain = backend.encode("a", add_special_tokens=False).ids
    whole = backend.encode("a", add_special_tokens=True).ids
    places = [place for place in range(len(whole)) if whole[place : place + len(plain)] == plain]
    if len(places) != 1 or len(whole) != len(plain) + backend.num_special_tokens_to_add(False):
        raise UnsupportedTokenizer("it puts tokens around a text in a way that is not known")
    start, end = places[0], places[0] + len(plain)
    return np.asarray(whole[:start], dtype=np.int32), np.asarray(whole[end:], dtype=np.int32)

"""Whether tiktoken may stand in for the tokenizer's own library: only if its ids are the same, seen here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models

from qwenkit.tokens.backend import prepare_backend
from qwenkit.tokens.byte_pairs import BytePairEncoder, UnsupportedTokenizer, to_bytes

LIBRARY = "tokenizers"
FAST = "tiktoken"

# Texts that tokenizers are known to part ways over; the texts of special tokens come besides.
ADVERSARIAL_TEXTS = (
    "a",
    "  two  three   four    \t\t\n\n\n  \r\n \r\r\n x  ",
    " " * 5_000 + "x" + " " * 5_000,
    "\n" * 3_000 + " \n \t\n" * 500 + "end\n\n",
    "\u3000\u00a0\u2003 \u2028\u2029\x85\x1c\x1f\u180e\u200b\u1680 x\u202f9",
    "\x00\x01\x07\x08\x0b\x0c\x1b[31m\x7f\x80\x9f",
    "I'll we've they're I'd it's don't I'm O'Clock 'S 'T 'RE 'VE 'M 'LL 'D 'ſ ’s ‘ve 'sa 'tis 'llama ''s",
    "1234567890 12 345 6,789.01 3\u00b2 \u00bd \u0663\u0664 \u2167 \uff11\uff12 \U0001d7d9 0x1F 1e-5",
    "cafe\u0301 caf\u00e9 A\u030angstro\u0308m \u212b \u1e9b\u0323 q\u0307\u0323 q\u0323\u0307 \u0344 \u2adc",
    "\u0301 \u0301a \u0308\u0301 a\u0301\u0301\u0301 \u0323 \u093c \u20dd\u20e3 >\u0338 =\u0338 \u05b0\u05bc",
    "\u1100\u1161\u11a8 \uac01 \u1112\u1161\u11ab \ud55c\uad6d\uc5b4 \uf900 \ufa10 \u2f00 \ufb01 \ufb2a",
    "\u6cb3\u6d41\u7a7f\u8fc7\u8001\u57ce\u3002\u51ac\u306b\u306a\u308b\u3068\u5ddd\u304c\u51cd\u308b\u3002\uff08\uff09",
    "\u0627\u0644\u0646\u0647\u0631 \u05d4\u05d9\u05dc\u05d3\u05d9\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e01\u0e33",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u1780\u17d2\u1798\u17c2\u179a \u1019\u103c\u1014\u103a",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3de\ufe0f \U0001f1eb\U0001f1f7",
    "\U0001f44d\U0001f3fd \u270c\ufe0e 1\ufe0f\u20e3",
    "ri\u200bver\u200d to\ufeffwn so\u00adft \u202ertl\u202c \u2066x\u2069 \U000e0041\U000e007f",
    "\U0001d50a\U0001d52c\U0001d531\U0001d525 \U00010348 \ufffd \uffff \U0010ffff \ue000 \U0001f9ff",
    "aaaaaaaaaaaaaaaa" * 300,
    "abcdefgh" * 500 + "!?!?" * 500 + "--==--" * 200 + "_" * 1_000,
    'https://example.org/a_b/c?d=e&f=%20#g <b>x</b> {"k": [1, 2]} \\n \\u0041',
    "$x_1^2$ ```py\ndef f():\n\treturn\n```",
)
# Ranges in which all characters are of one kind are looked at in steps.
_EVEN_RANGES = ((0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0x17000, 0x18CFF), (0x20000, 0x10FFFF))
_STEP = 127
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class EncoderChoice:
    """What encodes, and why: for the terminal and the manifest.

    Attributes:
        name: "tiktoken" or "tokenizers", the tokenizer's own library.
    """

    name: str
    reason: str

    @property
    def is_fast(self) -> bool:
        return self.name == FAST


def choose_encoder(backend: Any, sample: Sequence[str]) -> EncoderChoice:
    """Compare tiktoken's ids with the library's on some rows and on texts made to set them apart.

    Any difference, anything unknown in the tokenizer and any error leave the work to the library.

    Args:
        backend: The tokenizer's Rust side.
        sample: Texts of the rows to come that hold something to read.
    """
    prepare_backend(backend)
    special = [token.content for token in backend.get_added_tokens_decoder().values()]
    probes = [*ADVERSARIAL_TEXTS, *special, *(f"x {token}{token} y\u0338" for token in special)]
    try:
        encoder = BytePairEncoder(backend)
        steps = json.dumps(json.loads(backend.to_str())["pre_tokenizer"])
        characters, differing = _compare_splits(steps, encoder.pattern)
        if differing is not None:
            return EncoderChoice(LIBRARY, f"tiktoken splits {differing} elsewhere")
        for texts in (sample, probes):
            place = _find_difference(encoder, backend, texts)
            if place is not None:
                shown = ascii(texts[place][:40])
                return EncoderChoice(LIBRARY, f"tiktoken gives other ids for {shown}")
    except UnsupportedTokenizer as error:
        return EncoderChoice(LIBRARY, f"the tokenizer is not for tiktoken: {error}")
    except BaseException as error:
        # A panic of tiktoken's Rust side is no Exception.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return EncoderChoice(LIBRARY, f"tiktoken failed: {type(error).__name__}: {str(error)[:200]}")
    compared = f"{len(sample):,} of the rows and {len(probes):,} texts made to differ"
    return EncoderChoice(FAST, f"equal ids on {compared}, equal splits at {characters:,} characters")


def _find_difference(encoder: BytePairEncoder, backend: Any, texts: Sequence[str]) -> int | None:
    """Find the first text whose ids differ, with and without a cut."""
    n_added = backend.num_special_tokens_to_add(False)
    for start in range(0, len(texts), 256):
        part = list(texts[start : start + 256])
        expected = backend.encode_batch_fast(part, add_special_tokens=True)
        found, lengths = encoder.encode(part, None)
        cut, _ = encoder.encode(part[:4], n_added + 2)
        for place, (wanted, ids, length) in enumerate(zip(expected, found, lengths, strict=True)):
            if length != len(wanted.ids) or not np.array_equal(ids, wanted.ids):
                return start + place
        for place, ids in enumerate(cut):
            wanted = backend.encode(part[place], add_special_tokens=False)
            wanted.truncate(2)
            if ids.tolist() != backend.post_process(wanted).ids:
                return start + place
    return None


@cache
def _compare_splits(steps: str, pattern: str) -> tuple[int, str | None]:
    """Compare where the library and tiktoken split text, at characters of all Unicode.

    tiktoken gets the library's own parts as its vocabulary, so each part must come out as one token.

    Args:
        steps: The library's way to split, as tokenizer.json has it.
        pattern: tiktoken's.

    Returns:
        The number of characters looked at, and the first at which they differ.
    """
    import tiktoken

    blank = json.loads(Tokenizer(models.BPE()).to_str())
    split = Tokenizer.from_str(json.dumps({**blank, "pre_tokenizer": json.loads(steps)})).pre_tokenizer
    characters = _list_characters()
    probes = [f"a{c}b0{c}{c}0..{c}'{c}a\n{c}  {c}" for c in characters]
    parts = [[to_bytes(part) for part, _ in split.pre_tokenize_str(probe)] for probe in probes]
    ranks = {bytes([byte]): byte for byte in range(256)}
    for part in chain.from_iterable(parts):
        ranks.setdefault(part, len(ranks))
    core = tiktoken.Encoding("parts", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    for character, probe, wanted in zip(characters, probes, parts, strict=True):
        if core.encode_ordinary(probe) != [ranks[part] for part in wanted]:
            return len(characters), f"U+{ord(character):04X}"
    return len(characters), None


def _list_characters() -> list[str]:
    """List all but those of large even ranges: assigned or not, as the two may know different versions."""
    even = [range(first, last + 1) for first, last in _EVEN_RANGES]
    single = [code for code in range(0x20000) if not any(code in part for part in (*even, _SURROGATES))]
    return list(map(chr, [*single, *chain(*(part[::_STEP] for part in even))]))

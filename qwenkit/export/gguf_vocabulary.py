"""The vocabulary of a GGUF file: llama.cpp shall make the ids that training saw."""

import json
from typing import Any

from qwenkit.errors import ConfigError


def add_vocabulary(writer: Any, tokenizer: Any, *, rows: int) -> None:
    """Write tokens, merges and settings of a Qwen tokenizer.

    Args:
        writer: A gguf.GGUFWriter.
        rows: Rows of the embedding; those without a token get a name that no text can make.

    Raises:
        ConfigError: llama.cpp's "qwen2" would tokenize otherwise.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    _check_is_qwen(content, tokenizer)
    tokens, types = list_tokens(content, rows=rows)
    writer.add_vocab_size(rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def list_tokens(content: dict[str, Any], *, rows: int) -> tuple[list[str], list[int]]:
    """Give the text and type of every id.

    Special tokens lose their text: llama-server would read `<|endoftext|>` in a text as the end token, where
    training read it as the characters that it is.

    Args:
        content: A tokenizer.json.
    """
    from gguf import TokenType

    tokens = [f"[unused {index}]" for index in range(rows)]
    types = [int(TokenType.UNUSED)] * rows
    for text, index in content["model"]["vocab"].items():
        tokens[index], types[index] = text, int(TokenType.NORMAL)
    for added in content["added_tokens"]:
        index = added["id"]
        is_special = added["special"]
        tokens[index] = f"[unused {added['content']}]" if is_special else added["content"]
        types[index] = int(TokenType.UNUSED if is_special else TokenType.USER_DEFINED)
    return tokens, types


def _check_is_qwen(content: dict[str, Any], tokenizer: Any) -> None:
    """Compare with Qwen's own how text is normalized and cut into words, and which algorithm merges them."""
    from transformers import Qwen2Tokenizer

    expected = json.loads(Qwen2Tokenizer().backend_tokenizer.to_str())
    parts = ("normalizer", "pre_tokenizer")
    differing = [part for part in parts if content[part] != expected[part]]
    if content["model"]["type"] != "BPE":
        differing.append("model")
    if tokenizer.num_special_tokens_to_add():
        differing.append("post_processor")
    if differing:
        raise ConfigError(
            f"the gguf export is for Qwen's tokenizer; this one has another {' and '.join(differing)}, which "
            "llama.cpp would not follow: export merged or onnx."
        )

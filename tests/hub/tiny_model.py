"""A repo of a model as the hub holds it, but tiny."""

from pathlib import Path

from qwenkit.tokens.tokenizer import train_tokenizer
from tests.qwen3_sizes import TINY_SIZES


def write_model(folder: Path, texts: list[str]) -> None:
    """Write a random two-layer Qwen3 language model and a tokenizer that learned from `texts`."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = train_tokenizer(texts, vocab_size=600, max_length=384)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        **TINY_SIZES,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

"""Paraphrase by a local model: real, tiny and random ones of both kinds, loaded from a folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, T5Config, T5ForConditionalGeneration

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.text.attacks import split_sentences
from qwenkit.text.paraphrase import MOST_TOKENS, SENTENCES_AT_ONCE, Paraphraser
from tests.modeling.tiny_models import make_tokenizer

TEXT = "It rains.  The river is high! Who knows why?\n\nNobody does. We wait."
PROMPT = "Say it anew: {text}\nAnew:"


def make_model(kind: str) -> Any:
    tokenizer = make_tokenizer()
    ids = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "eos_token_id": 299}
    torch.manual_seed(0)
    if kind == "text-to-text":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
        return T5ForConditionalGeneration(T5Config(**sizes, **ids, decoder_start_token_id=0))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return Qwen3ForCausalLM(Qwen3Config(**sizes, **ids, num_key_value_heads=1, head_dim=8))


@pytest.fixture(scope="module", params=["text-to-text", "causal"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of each kind, with its tokenizer."""
    path = tmp_path_factory.mktemp(request.param)
    make_model(request.param).save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def paraphraser(folder: Path) -> Paraphraser:
    return Paraphraser.from_folder(folder, prompt=PROMPT, device="cpu")


def test_text_is_rewritten_and_the_same_way_every_time(paraphraser: Paraphraser) -> None:
    before = torch.random.get_rng_state()
    first = paraphraser.rewrite(TEXT, seed=1, row_id=5)
    assert first != TEXT
    assert paraphraser.rewrite(TEXT, seed=1, row_id=5) == first
    assert paraphraser.rewrite(TEXT, seed=2, row_id=5) != first
    assert paraphraser.rewrite(TEXT, seed=1, row_id=6) != first
    assert torch.equal(torch.random.get_rng_state(), before)


def test_answer_holds_neither_the_prompt_nor_special_tokens(paraphraser: Paraphraser) -> None:
    for row_id in range(5):
        answer = paraphraser.rewrite(TEXT, seed=1, row_id=row_id)
        assert "Say it anew" not in answer
        assert not any(token in answer for token in paraphraser.tokenizer.all_special_tokens)


def test_model_is_asked_a_few_sentences_at_a_time(
    paraphraser: Paraphraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(paraphraser, "_rewrite_window", lambda window: asked.append(window) or window)
    assert paraphraser.rewrite(TEXT, seed=1, row_id=1) == TEXT
    assert asked == ["It rains.  The river is high! Who knows why?\n\n", "Nobody does. We wait."]
    assert SENTENCES_AT_ONCE == 3


@pytest.mark.parametrize("text", ["", " \n", "a", "🙂", "<|endoftext|>", "\x00", "." * 50])
def test_hostile_text_is_survived(paraphraser: Paraphraser, text: str) -> None:
    assert isinstance(paraphraser.rewrite(text, seed=1, row_id=1), str)


def test_sentence_too_long_for_the_model_stays(paraphraser: Paraphraser) -> None:
    endless = "ab cd " * MOST_TOKENS
    assert paraphraser.rewrite(endless, seed=1, row_id=1) == endless


def test_chat_model_is_asked_as_a_user(paraphraser: Paraphraser) -> None:
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    try:
        paraphraser.tokenizer.chat_template = template
        assert paraphraser._ask("x") == "[user]Say it anew: x\nAnew:[assistant]"
    finally:
        paraphraser.tokenizer.chat_template = None
    assert paraphraser._ask("{text} {x}") == "Say it anew: {text} {x}\nAnew:"


def test_prompt_without_a_place_for_the_text_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"must hold \{text\}"):
        Paraphraser.from_folder(folder, prompt="paraphrase")


def test_what_is_no_model_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is no folder"):
        Paraphraser.from_folder(tmp_path / "none", prompt=PROMPT)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(ArtifactError, match="cannot be loaded as a paraphraser"):
        Paraphraser.from_folder(tmp_path, prompt=PROMPT)


@pytest.mark.parametrize("text", ["", "One.", TEXT, "Dr. J. Doe came. He left", "a\n\nb. c"])
def test_sentences_put_together_are_the_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text

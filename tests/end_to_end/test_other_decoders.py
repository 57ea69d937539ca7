"""Bases of other families, which need no code of their own: trained, saved, read back and scored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from qwenkit.modeling.predictor import Predictor
from tests.conftest import TINY_SETTINGS
from tests.qwen3_sizes import TINY_SIZES

TEXTS = ["moreover the robust landscape", "the dog in the rain", "mud"]


@pytest.mark.parametrize("family", ["qwen2", "llama", "mistral", "phi3", "gemma2"])
def test_a_base_of_another_family_goes_through_all_stages(make: Any, tmp_path: Path, family: str) -> None:
    torch.manual_seed(0)
    sizes = {**TINY_SIZES, "vocab_size": 512, "max_position_embeddings": 64, "pad_token_id": 0}
    base = tmp_path / "bases" / family
    AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes)).save_pretrained(base)
    targets = {"phi3": "[qkv_proj, o_proj, gate_up_proj, down_proj]"}.get(
        family, "[q_proj, v_proj, down_proj]"
    )
    own = (f"model.name={base}", "tokenization.tokenizer=train", f"peft.target_modules={targets}")
    pipeline = make(overrides=(*TINY_SETTINGS, *own))
    pipeline.run()
    assert pipeline.model.config.model_type == family
    assert 0 <= pipeline.post_metrics["auroc"] <= 1
    saved = Predictor.from_folder(pipeline.trained_folder)
    together = saved.predict(TEXTS).logits
    alone = np.concatenate([saved.predict(text).logits for text in TEXTS])
    # float32 sums over rows of other widths, through 4-bit layers that compute in bfloat16.
    np.testing.assert_allclose(together, alone, atol=0.03)

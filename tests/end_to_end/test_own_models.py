"""A model that a user of the class puts in: trained, told from others, loaded again, or refused."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from peft import LoraConfig, TaskType, get_peft_model
from torch import nn

from qwenkit import Predictor
from qwenkit.errors import ConfigError
from tests.conftest import TINY_SETTINGS
from tests.end_to_end.own_models import make_model, score


# PEFT, called by the user here, reads an attribute that transformers is about to rename.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("has_adapter", [False, True])
def test_a_model_put_in_is_trained_loaded_again_and_exported(make: Any, has_adapter: bool) -> None:
    pipeline = make()
    pipeline.setup_tokenizer()
    model = make_model(len(pipeline.tokenizer))
    if has_adapter:
        model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=4, target_modules=["q_proj"]))
    pipeline.model = model
    pipeline.run()
    assert pipeline.run_folder.name == "own-toy"
    texts = pipeline.test_dataset["text"][:5]
    in_memory = Predictor.from_folder(pipeline.trained_folder).predict(texts)
    predicted = pl.read_parquet(pipeline.run_folder / "evaluated/after/predictions.parquet").head(5)
    np.testing.assert_allclose(in_memory.logits[:, 0], predicted["logit_AI_Generated"], atol=1e-5)
    pipeline.export(["adapter", "merged"])
    for name in ("adapter", "merged"):
        exported = Predictor.from_folder(pipeline.run_folder / "exported" / name).predict(texts)
        # Not the logits: a merged head holds the temperature in its weights.
        np.testing.assert_allclose(exported.probabilities, in_memory.probabilities, atol=1e-4)


def test_a_model_put_in_is_known_by_its_content(make: Any) -> None:
    names = []
    for seed in (0, 0, 1):
        pipeline = make()
        pipeline.setup_tokenizer()
        pipeline.model = make_model(len(pipeline.tokenizer), seed=seed)
        pipeline.train()
        names.append(pipeline.run_folder.name)
    assert names == ["own-toy", "own-toy", "own-toy-2"]


def test_a_second_run_starts_from_the_model_put_in_not_from_what_became_of_it(make: Any) -> None:
    pipeline, fresh = make(), make(run_name="fresh")
    pipeline.setup_tokenizer()
    pipeline.model = make_model(len(pipeline.tokenizer))
    pipeline.run()
    pipeline.config.training.learning_rate = 0.02
    pipeline.run()
    fresh.config.training.learning_rate = 0.02
    fresh.setup_tokenizer()
    fresh.model = make_model(len(fresh.tokenizer))
    fresh.run()
    assert pipeline.run_folder.name == "own-toy-2"
    texts = fresh.test_dataset["text"][:8]
    np.testing.assert_array_equal(score(pipeline.trained_folder, texts), score(fresh.trained_folder, texts))


def test_a_checkpoint_of_a_model_put_in_loads_on_its_own(make: Any) -> None:
    pipeline = make(overrides=(*TINY_SETTINGS, "training.eval_steps=1", "training.save_steps=1"))
    pipeline.setup_tokenizer()
    pipeline.model = make_model(len(pipeline.tokenizer))
    pipeline.train()
    assert score(pipeline.run_folder / "checkpoint-1", ["the dog"]).shape == (1, 2)


def test_a_model_with_other_classes_is_refused(make: Any) -> None:
    pipeline = make()
    pipeline.setup_tokenizer()
    pipeline.model = make_model(len(pipeline.tokenizer), num_labels=3)
    with pytest.raises(ConfigError, match=r"has 3 classes, model.labels has 2"):
        pipeline.train()


def test_something_that_is_no_classifier_is_refused(make: Any) -> None:
    pipeline = make()
    pipeline.model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="the model put in is a Linear"):
        pipeline.train()

"""The one forward: exact without a mask, in order, in float32, and leaving the model as it was."""

import datasets
import numpy as np
import pytest
import torch
from transformers import Qwen3ForSequenceClassification

from qwenkit.config.schema_model import Peft
from qwenkit.errors import DataError
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.loading import LoadedClassifier
from qwenkit.modeling.predictor import (
    Predictor,
    flatten_ids,
    pad_rows,
    plan_batches,
    predict_logits,
)
from qwenkit.probabilities import softmax
from tests.modeling.tiny_models import (
    LABELS,
    load_tiny,
    make_bundle,
    make_documents,
    make_tokenizer,
    pad,
    save_trained,
)

PAD = make_tokenizer().pad_token_id


@pytest.fixture(scope="module")
def model():
    """A LoRA classifier whose logits differ from document to document."""
    return apply_adapter(load_tiny("none"), Peft(init_lora_weights=False), seed=1).eval()


def score(model, documents, *, batch_tokens=256, **options):
    return predict_logits(model, documents, pad_token_id=PAD, batch_tokens=batch_tokens, **options)


def score_as_stock(model, documents):
    """The stock class with an attention mask, as a user of transformers calls it."""
    stock = Qwen3ForSequenceClassification(model.config)
    stock.load_state_dict(model.state_dict())
    stock.train(model.training)
    batch = pad(documents)
    return stock, batch, (batch != PAD).long()


def test_padding_without_a_mask_equals_one_document_at_a_time(model):
    documents, _ = make_documents(40)
    alone = np.concatenate([score(model, [document], pad_to_multiple_of=None) for document in documents])
    # Matrix products of other shapes sum in another order: float32 rounding.
    np.testing.assert_allclose(score(model, documents), alone, atol=1e-5)


def test_logits_equal_those_of_the_stock_class_with_a_mask():
    model = load_tiny().eval()
    documents, _ = make_documents(16)
    stock, batch, mask = score_as_stock(model, documents)
    with torch.no_grad():
        expected = stock(input_ids=batch, attention_mask=mask).logits.numpy()
    np.testing.assert_allclose(score(model, documents), expected, atol=1e-5)


def test_a_model_with_another_attention_stays_causal():
    """A user's own, say; only torch's kernel takes no mask for a causal one."""
    model, (documents, _) = load_tiny().eval(), make_documents(16)
    expected = score(model, documents)
    model.set_attn_implementation("eager")
    # float32 sums in another order.
    np.testing.assert_allclose(score(model, documents), expected, atol=1e-5)


def test_loss_and_gradients_equal_those_of_the_stock_class_with_a_mask():
    model = load_tiny().train().requires_grad_(True)
    documents, label_ids = make_documents(16)
    stock, batch, mask = score_as_stock(model, documents)
    labels = torch.from_numpy(label_ids)
    expected = stock(input_ids=batch, attention_mask=mask, labels=labels).loss
    expected.backward()
    loss = model(input_ids=batch, labels=labels, use_cache=False).loss
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    for (name, ours), theirs in zip(model.named_parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_batches_of_any_size_give_the_same_rows_in_the_order_given(model):
    documents, _ = make_documents(30)
    one_batch = score(model, documents, batch_tokens=10_000)
    for batch_tokens in (1, 64, 300):
        np.testing.assert_allclose(score(model, documents, batch_tokens=batch_tokens), one_batch, atol=1e-5)
    reverse = score(model, documents[::-1])
    np.testing.assert_allclose(reverse[::-1], one_batch, atol=1e-5)


def test_lists_arrays_and_columns_of_a_dataset_are_read_alike(model):
    documents = [document.astype(np.int32) for document in make_documents(12)[0]]
    lists = [document.tolist() for document in documents]
    dataset = datasets.Dataset.from_dict({"input_ids": lists, "length": [len(ids) for ids in lists]})
    expected = score(model, documents)
    for given in (
        lists,
        np.array(documents, dtype=object),
        dataset["input_ids"],
        dataset.with_format("numpy")["input_ids"],
    ):
        assert np.array_equal(score(model, given), expected)
    shuffled = dataset.select(range(11, -1, -1))
    assert np.array_equal(score(model, shuffled["input_ids"]), expected[::-1])
    assert score(model, []).shape == (0, 2)


def test_batches_keep_to_the_token_budget_and_take_the_longest_first():
    lengths = np.array([3, 20, 8, 9, 16, 1])
    batches = list(plan_batches(lengths, batch_tokens=32, multiple=8))
    assert [batch.tolist() for batch in batches] == [[1], [4, 3], [2, 0, 5]]
    assert all(len(batch) * -(-lengths[batch].max() // 8) * 8 <= 32 or len(batch) == 1 for batch in batches)


def test_rows_are_padded_on_the_right():
    ids, offsets = flatten_ids([[1, 2, 3], [4]])
    padded = pad_rows(ids, offsets, np.array([1, 0]), pad_token_id=9, multiple=4)
    assert padded.tolist() == [[4, 9, 9, 9], [1, 2, 3, 9]]


@pytest.mark.parametrize("is_training", [True, False])
def test_the_training_mode_comes_back_even_after_an_error(model, is_training):
    model.train(is_training)
    score(model, make_documents(3)[0])
    assert model.training is is_training
    with pytest.raises(ZeroDivisionError):
        score(model, make_documents(3)[0], on_batch=lambda rows, tokens: 1 / 0)
    assert model.training is is_training
    assert not model.base_model.model.score._forward_hooks
    model.eval()


def test_progress_adds_up(model):
    documents, _ = make_documents(25)
    seen = []
    score(model, documents, batch_tokens=64, on_batch=lambda rows, tokens: seen.append((rows, tokens)))
    assert sum(rows for rows, _ in seen) == 25
    assert sum(tokens for _, tokens in seen) == sum(map(len, documents))


def test_an_empty_document_is_refused(model):
    with pytest.raises(DataError, match="1 documents have no token, the first is row 1"):
        score(model, [[5, 6], [], [7]])


def test_a_document_that_ends_with_the_pad_id_is_refused(model):
    with pytest.raises(DataError, match="row 0 ends with the pad token"):
        score(model, [[5, PAD]])


def test_logits_of_a_bfloat16_model_are_computed_in_float32():
    model = apply_adapter(load_tiny(dtype="bfloat16"), Peft(init_lora_weights=False), seed=1)
    logits = score(model, make_documents(40)[0])
    assert logits.dtype == np.float32
    rounded = torch.from_numpy(logits).bfloat16().float().numpy()
    assert (logits != rounded).mean() > 0.9
    exact = score(model.float(), make_documents(40)[0])
    # bfloat16 keeps 8 bits: hidden states are off by up to 0.4 %, the logits of this model by less than 0.05.
    np.testing.assert_allclose(logits, exact, atol=0.05)


def test_float32_weights_can_be_scored_as_in_mixed_precision(model):
    documents, _ = make_documents(20)
    mixed, exact = score(model, documents, dtype="bfloat16"), score(model, documents)
    assert not np.array_equal(mixed, exact)
    np.testing.assert_allclose(mixed, exact, atol=0.05)


def test_probabilities_are_calibrated_and_add_up():
    logits = np.array([[2.0, -2.0], [1000.0, 0.0]], dtype=np.float32)
    cool = softmax(logits / 4.0)
    np.testing.assert_allclose(cool[0], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    np.testing.assert_allclose(cool.sum(axis=1), 1)
    assert cool.dtype == np.float64


def test_texts_are_scored_with_the_label_names_of_the_bundle(tmp_path):
    save_trained(tmp_path, bundle={"temperature": 2.0})
    predictor = Predictor.from_folder(tmp_path, device="cpu")
    result = predictor.predict(["the quick brown fox", "it is raining <|endoftext|>", "x" * 500])
    assert result.logits.shape == (3, 2)
    np.testing.assert_allclose(result.probabilities, softmax(result.logits / 2), atol=1e-9)
    assert result.labels == LABELS
    assert np.array_equal(result.label_ids, result.logits.argmax(axis=1))
    assert result.label_ids.dtype == np.int64


def test_a_lone_text_is_one_row(tmp_path):
    save_trained(tmp_path)
    assert Predictor.from_folder(tmp_path, device="cpu").predict("the fox").logits.shape == (1, 2)


def test_a_text_that_holds_the_pad_token_is_read_to_its_end(tmp_path):
    save_trained(tmp_path)
    predictor = Predictor.from_folder(tmp_path, device="cpu")
    first, second = predictor.predict(["fox<|endoftext|>a b c", "fox<|endoftext|>the dog"]).logits
    assert not np.allclose(first, second)


def test_empty_text_is_refused(model):
    predictor = Predictor(LoadedClassifier(model, make_tokenizer(), make_bundle()))
    with pytest.raises(DataError):
        predictor.predict(["fine", "  \n"])

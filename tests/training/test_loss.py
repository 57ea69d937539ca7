"""The loss against torch's and the stock class's own, in float32."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import SequenceClassifierOutput

from qwenkit.training.loss import WeightedCrossEntropy
from tests.training.tiny_training import PAD, VOCAB, load_base

WEIGHTS = [0.7, 1.9]
# Both sides compute the same sums in float32, in another order.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-7}


def outputs_of(logits: torch.Tensor) -> SequenceClassifierOutput:
    return SequenceClassifierOutput(logits=logits)


def test_loss_of_a_whole_step_is_torchs_weighted_mean():
    logits, labels = torch.randn(50, 2), torch.randint(0, 2, (50,))
    expected = cross_entropy(logits, labels, weight=torch.tensor(WEIGHTS))
    torch.testing.assert_close(
        WeightedCrossEntropy(WEIGHTS)(outputs_of(logits), labels), expected, **TOLERANCE
    )


def test_parts_add_up_to_the_whole_however_the_step_is_cut():
    logits, labels = torch.randn(50, 2), torch.randint(0, 2, (50,))
    compute_loss = WeightedCrossEntropy(WEIGHTS)
    divisor = torch.tensor(WEIGHTS)[labels].sum()
    whole = compute_loss(outputs_of(logits), labels)
    for size in (1, 7, 49):
        parts = zip(logits.split(size), labels.split(size), strict=True)
        total = sum(compute_loss(outputs_of(part), ids, num_items_in_batch=divisor) for part, ids in parts)
        torch.testing.assert_close(total, whole, **TOLERANCE)


def test_bfloat16_logits_are_weighed_in_float32():
    logits, labels = torch.randn(8, 2), torch.randint(0, 2, (8,))
    rounded = logits.to(torch.bfloat16)
    loss = WeightedCrossEntropy(WEIGHTS)(outputs_of(rounded), labels)
    assert loss.dtype == torch.float32
    expected = cross_entropy(rounded.float(), labels, weight=torch.tensor(WEIGHTS))
    torch.testing.assert_close(loss, expected, **TOLERANCE)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_and_gradients_equal_those_of_the_stock_class(base_folder, seed):
    """The reference is the class's own loss, unweighted, over a padded batch with a mask."""
    torch.manual_seed(seed)
    stock = load_base(base_folder)
    ours = copy.deepcopy(stock)
    lengths = torch.randint(1, 30, (12,))
    width = int(lengths.max())
    mask = (torch.arange(width) < lengths[:, None]).long()
    input_ids = torch.randint(1, VOCAB, (12, width)) * mask + PAD * (1 - mask)
    labels = torch.randint(0, 2, (12,))

    stock_loss = stock(input_ids=input_ids, attention_mask=mask, labels=labels).loss
    stock_loss.backward()
    our_loss = WeightedCrossEntropy([1.0, 1.0])(ours(input_ids=input_ids, use_cache=False), labels)
    our_loss.backward()

    torch.testing.assert_close(our_loss, stock_loss, **TOLERANCE)
    for (name, ours_p), stock_p in zip(ours.named_parameters(), stock.parameters(), strict=True):
        assert ours_p.grad is not None, name
        # Sums over masked and unmasked attention differ in their last bits; gradients here are of order 0.1.
        torch.testing.assert_close(ours_p.grad, stock_p.grad, rtol=1e-4, atol=1e-6)

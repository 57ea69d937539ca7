"""The loss against torch's and the stock class's own, in float32."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import SequenceClassifierOutput

from qwenkit.training.loss import WeightedLoss
from tests.training.tiny_training import PAD, VOCAB, load_base

WEIGHTS = [0.7, 1.9]
# Both sides compute the same sums in float32, in another order.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-7}


def outputs_of(logits: torch.Tensor) -> SequenceClassifierOutput:
    return SequenceClassifierOutput(logits=logits)


def test_loss_of_a_whole_step_is_torchs_weighted_mean():
    logits, labels = torch.randn(50, 2), torch.randint(0, 2, (50,))
    expected = cross_entropy(logits, labels, weight=torch.tensor(WEIGHTS))
    torch.testing.assert_close(WeightedLoss(WEIGHTS)(outputs_of(logits), labels), expected, **TOLERANCE)


@pytest.mark.parametrize("kind", [{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}])
def test_parts_add_up_to_the_whole_however_the_step_is_cut(kind):
    logits, labels = torch.randn(50, 2), torch.randint(0, 2, (50,))
    compute_loss = WeightedLoss(WEIGHTS, **kind)
    divisor = torch.tensor(WEIGHTS)[labels].sum()
    whole = compute_loss(outputs_of(logits), labels)
    for size in (1, 7, 49):
        parts = zip(logits.split(size), labels.split(size), strict=True)
        total = sum(compute_loss(outputs_of(part), ids, num_items_in_batch=divisor) for part, ids in parts)
        torch.testing.assert_close(total, whole, **TOLERANCE)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("classes", [2, 5])
def test_label_smoothing_is_torchs_own(smoothing, classes):
    weights = torch.linspace(0.5, 2.0, classes)
    logits, labels = torch.randn(50, classes), torch.randint(0, classes, (50,))
    expected = cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
    found = WeightedLoss(weights.tolist(), label_smoothing=smoothing)(outputs_of(logits), labels)
    torch.testing.assert_close(found, expected, **TOLERANCE)


def focal_oracle(logits, labels, weights, gamma):
    """The paper's formula, document by document, in float64."""
    total = weight_sum = 0.0
    for row, label in zip(logits.double(), labels.tolist(), strict=True):
        p = (row.exp() / row.exp().sum())[label]
        total += -weights[label] * (1 - p) ** gamma * p.log()
        weight_sum += weights[label]
    return total / weight_sum


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_and_its_gradient_are_the_papers(gamma):
    logits, labels = 3 * torch.randn(60, 2), torch.randint(0, 2, (60,))
    ours, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
    found = WeightedLoss(WEIGHTS, focal_gamma=gamma)(outputs_of(ours), labels)
    expected = focal_oracle(exact, labels, WEIGHTS, gamma)
    found.backward()
    expected.backward()
    torch.testing.assert_close(found.double(), expected, **TOLERANCE)
    torch.testing.assert_close(ours.grad.double(), exact.grad, **TOLERANCE)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_a_document_beyond_doubt_has_a_finite_gradient(gamma):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = WeightedLoss(WEIGHTS, focal_gamma=gamma)(outputs_of(logits), torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
    # The first is right and counts for nothing, the second is wrong by 400 at full weight; mean of two.
    torch.testing.assert_close(loss.detach(), torch.tensor(200.0), **TOLERANCE)


def test_bfloat16_logits_are_weighed_in_float32():
    logits, labels = torch.randn(8, 2), torch.randint(0, 2, (8,))
    rounded = logits.to(torch.bfloat16)
    loss = WeightedLoss(WEIGHTS)(outputs_of(rounded), labels)
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
    our_loss = WeightedLoss([1.0, 1.0])(ours(input_ids=input_ids, use_cache=False), labels)
    our_loss.backward()

    torch.testing.assert_close(our_loss, stock_loss, **TOLERANCE)
    for (name, ours_p), stock_p in zip(ours.named_parameters(), stock.parameters(), strict=True):
        assert ours_p.grad is not None, name
        # Sums over masked and unmasked attention differ in their last bits; gradients here are of order 0.1.
        torch.testing.assert_close(ours_p.grad, stock_p.grad, rtol=1e-4, atol=1e-6)

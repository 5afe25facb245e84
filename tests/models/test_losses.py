"""Losses and gradients that are found a stretch at a time are those of the plain way."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slmtk.models.losses import linear_losses

SIZES = (1025, 1026, 700, 1025)


def heads(sizes=SIZES, bias=True):
    torch.manual_seed(0)
    return [nn.Linear(8, size, bias=bias) for size in sizes]


def inputs(count, sizes=SIZES):
    torch.manual_seed(1)
    states = torch.randn(count, 8, requires_grad=True)
    return states, torch.stack([torch.randint(0, size, (count,)) for size in sizes], dim=1)


def plain(states, layers, targets):
    return sum(F.cross_entropy(layer(states), targets[:, head]) for head, layer in enumerate(layers))


def gradients(loss, states, layers):
    parameters = [states, *(p for layer in layers for p in layer.parameters())]
    return torch.autograd.grad(loss, parameters)


@pytest.mark.parametrize(("sizes", "bias"), [(SIZES, True), (SIZES, False), (SIZES[:1], True), (SIZES[:1], False)])
def test_values_and_gradients_are_those_of_the_plain_way(sizes, bias):
    layers = heads(sizes, bias)
    states, targets = inputs(1500, sizes)  # of 4,104 scores each: three stretches
    losses = linear_losses(states, layers, targets)
    expected = plain(states, layers, targets)
    torch.testing.assert_close(losses.total, expected, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(
        gradients(3 * losses.total, states, layers), gradients(3 * expected, states, layers), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    scores = [layer(states) for layer in layers]
    for head, values in enumerate(scores):
        each = F.cross_entropy(values, targets[:, head], reduction="none")
        torch.testing.assert_close(losses.each[:, head], each, atol=1e-5, rtol=0)
        assert torch.equal(losses.hits[:, head], values.argmax(-1) == targets[:, head])


def test_no_scores_are_kept_for_the_backward_pass():
    layers = heads()
    states, targets = inputs(1500)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        linear_losses(states, layers, targets)
    assert max(kept) <= 4 * 1026 * 8  # the gradient of the stacked weights; scores would be 1500 x 4 x 1026


def test_nothing_costs_nothing_and_still_has_gradients():
    layers = heads()
    states, targets = inputs(0)
    losses = linear_losses(states, layers, targets)
    assert losses.total.item() == 0
    assert all(grad.abs().sum() == 0 for grad in gradients(losses.total, states, layers))


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("count", [0, 6, 2500])
def test_a_layer_that_does_more_than_a_product_is_called(count):
    torch.manual_seed(0)
    layers = [Doubled(8, 50), nn.Linear(8, 50)]
    states, targets = inputs(count, (50, 50))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        losses = linear_losses(states, layers, targets)
    assert losses.each.shape == losses.hits.shape == (count, 2)
    ours = gradients(losses.total, states, layers)
    if not count:
        assert losses.total.item() == 0
        assert all(grad.abs().sum() == 0 for grad in ours)
        return
    expected = plain(states, layers, targets)
    torch.testing.assert_close(losses.total, expected)
    for one, other in zip(ours, gradients(expected, states, layers), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert sum(kept) < max(count, 1024) * 50  # less than all scores of a head


def test_frozen_weights_and_evaluation_leave_out_what_is_not_needed():
    layers = heads()
    for layer in layers:
        layer.requires_grad_(False)
    states, targets = inputs(20)
    total = linear_losses(states, layers, targets).total
    torch.testing.assert_close(
        torch.autograd.grad(total, states)[0], torch.autograd.grad(plain(states, layers, targets), states)[0]
    )
    with torch.no_grad():
        assert not linear_losses(states, layers, targets).total.requires_grad


def test_under_autocast_products_are_bf16_and_weights_gradients_stay_float32():
    layers = heads()
    states, targets = inputs(300)
    with torch.autocast("cpu", torch.bfloat16):
        total = linear_losses(states, layers, targets).total
    expected = plain(states, layers, targets)
    assert total.item() == pytest.approx(expected.item(), rel=1e-3)
    assert total.item() != expected.item()
    for ours, theirs in zip(gradients(total, states, layers), gradients(expected, states, layers), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0.05)

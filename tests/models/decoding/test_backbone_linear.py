"""A linear layer for few rows gives what PyTorch's gives, whichever way it takes."""

import pytest
import torch
import torch.nn.functional as F

from slmtk.models.decoding import linear
from slmtk.models.decoding.linear import Linear


def layer_and_rows(rows, *, bias=True):
    torch.manual_seed(0)
    return torch.nn.Linear(48, 80, bias=bias), torch.randn(rows, 48), torch.randn(rows, 80)


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("cached", [0, 2**21], ids=["large", "small"])
@torch.no_grad()
def test_every_way_gives_the_same(monkeypatch, cached, rows, bias, copy):
    monkeypatch.setattr(linear, "CACHED_BYTES", cached)
    layer, x, total = layer_and_rows(rows, bias=bias)
    before = total.clone()
    fast = Linear(layer.weight, layer.bias, rows, [layer], copy=copy)
    torch.testing.assert_close(fast(x), F.linear(x, layer.weight, layer.bias), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(fast.add_to(total, x), before + layer(x), atol=1e-6, rtol=1e-5)
    assert torch.equal(total, before)


@torch.no_grad()
def test_without_the_operators_pytorchs_own_product_is_taken(monkeypatch):
    monkeypatch.setattr(linear, "has_operators", lambda: False)
    layer, x, _ = layer_and_rows(5)
    fast = Linear(layer.weight, layer.bias, 5, [layer], copy=True)
    assert torch.equal(fast(x), layer(x))


@pytest.mark.skipif(not linear.has_operators(), reason="this build of PyTorch has no oneDNN operators")
@torch.no_grad()
def test_a_copy_is_made_once_and_again_when_the_weights_have_changed():
    layer, x, _ = layer_and_rows(5)
    first = Linear(layer.weight, layer.bias, 5, [layer], copy=True)
    assert Linear(layer.weight, layer.bias, 5, [layer], copy=True)._weight is first._weight
    layer.weight.mul_(2)
    torch.testing.assert_close(Linear(layer.weight, layer.bias, 5, [layer], copy=True)(x), layer(x))
    layer.weight.data.mul_(2)  # not counted by PyTorch as a change of the parameter
    torch.testing.assert_close(Linear(layer.weight, layer.bias, 5, [layer], copy=True)(x), layer(x))

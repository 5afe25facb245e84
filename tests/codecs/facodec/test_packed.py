"""Packed convolutions are those of torch.nn.functional, with the operators of this build and without them."""

import pytest
import torch
from torch.nn import functional as F

from slmtk.codecs.facodec import packed
from slmtk.codecs.facodec.layers import TransposedConv


@pytest.fixture(params=["packed", "ordinary"], autouse=True)
def way(request, monkeypatch):
    if request.param == "ordinary":
        monkeypatch.setattr(packed, "has_packed_operators", lambda: False)
    elif not packed.has_packed_operators():
        pytest.skip("this build of PyTorch lacks the packed operators")


@pytest.mark.parametrize("length", [40, 412, 1500])
@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "how"),
    [
        (1, 32, 7, {}),
        (32, 32, 7, {"dilation": 9}),
        (64, 128, 8, {"stride": 4}),
        (512, 512, 1, {}),
        (64, 1, 7, {}),
        (48, 48, 6, {"groups": 48}),
    ],
)
def test_equals_the_convolution_of_torch(inputs, outputs, kernel, how, length):
    generator = torch.Generator().manual_seed(0)
    per_output = inputs // how.get("groups", 1)
    weight = torch.randn(outputs, per_output, kernel, generator=generator) / (per_output * kernel) ** 0.5
    bias = torch.randn(outputs, generator=generator)
    length += 9 * 7
    x = torch.randn(length, inputs, generator=generator)
    conv = packed.PackedConv(weight, bias, **how)
    with torch.inference_mode():
        expected = F.conv1d(x.T[None], weight, bias, **how)[0].T
        found = conv(x)
        assert found.is_contiguous()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        total = torch.ones_like(found)
        assert conv.add_to(total, x) is total
        torch.testing.assert_close(total, expected + 1, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stride", [2, 4, 5])
def test_a_transposed_convolution_is_one_of_two_taps(stride):
    layer = TransposedConv(16, 8, stride)
    generator = torch.Generator().manual_seed(stride)
    for value in (layer.weight_v, layer.weight_g, layer.bias):
        value.copy_(torch.randn(value.shape, generator=generator))
    norm = layer.weight_v.norm(dim=(1, 2), keepdim=True)
    x = torch.randn(30, 16, generator=generator)
    expected = F.conv_transpose1d(x.T[None], layer.weight_g * layer.weight_v / norm, layer.bias, stride=stride)[0].T
    layer.fold()
    found = layer.packed(F.pad(x, (0, 0, 1, 1))).view(-1, 8)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)

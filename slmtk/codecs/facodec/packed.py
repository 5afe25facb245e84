"""Convolutions of signals with the channels of a moment side by side, [n, C], their weights laid out once.

oneDNN wants weights in blocks of its own; PyTorch's convolutions put them there anew at every call, which for the short
stretches of a signal that fit the cache costs as much as half the arithmetic. The operators here take them as they are.
They are those that PyTorch's compiler emits for a frozen model; where a build lacks them, ordinary ones do the same.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_USUAL_LENGTH = 1024


class PackedConv:
    """1-d convolution without padding over the first axis of [n, C]."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, *, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> None:
        """``weight`` [O, I / groups, K] and ``bias`` [O] as for `torch.nn.functional.conv1d`.

        ``groups`` are 1 or the channels: in the latter case, stride and dilation are 1.
        """
        self._bias = bias
        self._stride, self._dilation, self._groups = stride, dilation, groups
        self._single = weight.shape[2] == groups == stride == 1
        self._fast = weight.device.type == "cpu" and has_packed_operators()
        if not self._fast:
            self._weight = weight.contiguous()
        elif self._single:
            # As convolutions, wide layers of one tap are ten times slower at lengths other than the one given here.
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight[:, :, 0].contiguous(), _USUAL_LENGTH)
        else:
            self._weight = _lay_out(weight, self._how())

    def __call__(self, x: Tensor) -> Tensor:
        """float32 [n, I] -> float32 [(n - (K - 1) dilation - 1) / stride + 1, O]."""
        if not self._fast:
            return self._ordinary(x)
        if self._single:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
            return y
        return _convolve(x, self._weight, self._bias, self._how())

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """Add the convolution of ``x`` [n, I] to ``total`` [m, O], in place, and return it."""
        if not self._fast or self._single:
            return total.add_(self(x))
        _accumulate(total, x, self._weight, self._bias, self._how())
        return total

    def _how(self) -> tuple[Any, ...]:
        return ([0, 0], [1, self._stride], [1, self._dilation], self._groups)

    def _ordinary(self, x: Tensor) -> Tensor:
        if self._groups == 1:
            y = F.conv1d(x.T[None], self._weight, self._bias, stride=self._stride, dilation=self._dilation)
            return y[0].T.contiguous()
        # A filter for every channel: PyTorch's own are slower than a sum of shifted copies.
        taps = self._weight[:, 0].T.contiguous()
        length = len(x) - len(taps) + 1
        y = x[:length] * taps[0]
        for shift, tap in enumerate(taps[1:], start=1):
            y.addcmul_(x[shift : shift + length], tap)
        return y if self._bias is None else y.add_(self._bias)


@functools.cache
def has_packed_operators() -> bool:
    """Whether this build of PyTorch has the operators: it does not promise to keep them, so they are tried."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        x, how = torch.zeros(8, 16), ([0, 0], [1, 1], [1, 1], 16)
        packed = _lay_out(torch.zeros(16, 1, 3), how)
        _accumulate(_convolve(x, packed, None, how), x, packed, None, how)
        matrix = torch.ops.mkldnn._reorder_linear_weight(torch.zeros(16, 16), _USUAL_LENGTH)
        torch.ops.mkldnn._linear_pointwise(x, matrix, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


def _lay_out(weight: Tensor, how: tuple[Any, ...]) -> Tensor:
    padding, stride, dilation, groups = how
    image = [1, weight.shape[1] * groups, 1, _USUAL_LENGTH * stride[1]]
    packed: Tensor = torch._C._nn.mkldnn_reorder_conv2d_weight(
        weight[:, :, None].contiguous().to_mkldnn(),
        padding,
        stride,
        dilation,
        groups,
        image,  # type: ignore[call-arg]
    )
    return packed


def _convolve(x: Tensor, packed: Tensor, bias: Tensor | None, how: tuple[Any, ...]) -> Tensor:
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(_image(x), packed, bias, *how, "none", [], "")
    return y[0, :, 0].T.contiguous()


def _accumulate(total: Tensor, x: Tensor, packed: Tensor, bias: Tensor | None, how: tuple[Any, ...]) -> None:
    add: tuple[Any, ...] = ("add", 1.0, None, [], None)
    torch.ops.mkldnn._convolution_pointwise_.binary(_image(total), _image(x), packed, bias, *how, *add)


def _image(x: Tensor) -> Tensor:
    """[n, C] as an image of one row, channels last."""
    return x.T[None, :, None]

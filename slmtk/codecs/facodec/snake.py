"""FACodec's anti-aliased activation on a stretch of a signal: double the rate, snake, halve the rate, all in cache.

The published modules run it as depthwise convolutions over whole utterances, whose temporaries are twice as large as
the signal and go to memory and back. Here a stretch stays in the cache, and the filters meet no zeros: 2 x 6
multiply-adds a sample to double the rate and 12 to halve it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from slmtk.codecs.facodec.layers import Activation

REACH = 6
"""Input samples that an output sample depends on, on either side: 3 for each filter."""


class Scratch:
    """Buffers that are used again from stretch to stretch, since new memory costs more than the arithmetic."""

    def __init__(self) -> None:
        """Begin with none."""
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Return ``shape`` uninitialised values of ``like``'s device; the next call of this name overwrites them."""
        size = 1
        for axis in shape:
            size *= axis
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = like.new_empty(size)
        return buffer[:size].view(shape)


def activate(layer: nn.Module, x: Tensor, start: int, stop: int, scratch: Scratch) -> Tensor:
    """Return samples ``start`` .. ``stop`` of the activation of a signal.

    Args:
        layer: an `Activation`, folded.
        x: float32 [n, C], the whole signal.
        start: of the stretch, 0 <= start.
        stop: its end, start < stop <= n.
        scratch: for temporaries.

    Returns:
        float32 [stop - start, C].
    """
    assert isinstance(layer, Activation)
    length, channels = x.shape
    samples, wide = stop - start, stop - start + REACH
    window = _window(x, start - REACH, stop + REACH)
    up_even, up_odd, down_even, down_odd = layer.filters
    even, odd = up_even(window[: wide + 5]), up_odd(window[1 : wide + 6])
    wave = scratch.take("wave", x, wide, channels)
    for doubled in (even, odd):
        torch.mul(doubled, layer.frequency, out=wave)
        _sine(wave)
        doubled.addcmul_(wave, wave)
    # At the signal's ends the doubled signal goes on as its first and last value.
    if (before := max(0, REACH // 2 - start)) > 0:
        even[:before] = odd[:before] = even[before].clone()
    if (behind := max(0, stop + REACH // 2 - length)) > 0:
        even[wide - behind :] = odd[wide - behind :] = odd[wide - behind - 1].clone()
    result = down_even(even[1 : samples + 6])
    return down_odd.add_to(result, odd[: samples + 5])


def _sine(x: Tensor) -> None:
    """Sine in place. NumPy's takes a third of the time of PyTorch's on a CPU, to within the last bit as well."""
    if x.device.type == "cpu":
        values = x.numpy()
        np.sin(values, out=values)
    else:
        x.sin_()


def _window(x: Tensor, start: int, stop: int) -> Tensor:
    """Samples start .. stop of [n, C], its first and last value repeated beyond its ends."""
    left, right = max(0, -start), max(0, stop - len(x))
    inside = x[max(start, 0) : min(stop, len(x))]
    if not left and not right:
        return inside
    return torch.cat([inside[:1].expand(left, -1), inside, inside[-1:].expand(right, -1)])

"""FACodec's anti-aliased activation on a stretch of a signal: double the rate, snake, halve the rate, all in cache.

The published modules run it as depthwise convolutions over whole utterances, whose temporaries are twice as large as
the signal and go to memory and back. Here both filters are sums of shifted copies of a stretch that stays in the cache:
2 x 6 multiply-adds a sample to double the rate (every second tap meets a zero) and 12 to halve it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
        x: float32 [C, n], the whole signal.
        start: of the stretch, 0 <= start.
        stop: its end, start < stop <= n.
        scratch: for temporaries.

    Returns:
        float32 [C, stop - start], valid until ``scratch`` is used again.
    """
    assert isinstance(layer, Activation)
    channels, length = x.shape
    samples, wide = stop - start, stop - start + REACH
    window = _window(x, start - REACH, stop + REACH)
    doubled = scratch.take("doubled", x, 2, channels, wide)
    even, odd = doubled
    for out, first, taps in ((even, 0, layer.up[11::-2]), (odd, 1, layer.up[10::-2])):
        torch.mul(window[:, first : first + wide], taps[0], out=out)
        for shift, tap in enumerate(taps[1:], start=first + 1):
            out.add_(window[:, shift : shift + wide], alpha=tap)
    wave = scratch.take("wave", x, 2, channels, wide)
    torch.mul(doubled, layer.frequency, out=wave)
    wave.sin_().mul_(layer.depth)
    doubled.addcmul_(wave, wave)
    # At the signal's ends the doubled signal goes on as its first and last value.
    if (before := max(0, REACH // 2 - start)) > 0:
        doubled[:, :, :before] = even[:, before : before + 1].clone()
    if (behind := max(0, stop + REACH // 2 - length)) > 0:
        doubled[:, :, wide - behind :] = odd[:, wide - behind - 1 : wide - behind].clone()
    result = scratch.take("result", x, channels, samples)
    torch.mul(even[:, 1 : 1 + samples], layer.down[1], out=result)
    for shift, tap in enumerate(layer.down[3::2], start=2):
        result.add_(even[:, shift : shift + samples], alpha=tap)
    for shift, tap in enumerate(layer.down[0::2]):
        result.add_(odd[:, shift : shift + samples], alpha=tap)
    return result


def _window(x: Tensor, start: int, stop: int) -> Tensor:
    """Samples start .. stop of [C, n], its first and last value repeated beyond its ends."""
    length = x.shape[1]
    inside = x[:, max(start, 0) : min(stop, length)]
    left, right = max(0, -start), max(0, stop - length)
    return F.pad(inside[None], (left, right), mode="replicate")[0] if left or right else inside

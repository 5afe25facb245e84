"""FACodec's convolution stacks on one utterance, stretch by stretch: waveform -> latent and latent -> waveform."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slmtk.codecs.facodec.layers import Activation, Conv, ResidualUnit, Stage, TransposedConv
from slmtk.codecs.facodec.snake import REACH, Scratch, activate
from slmtk.codecs.facodec.workers import Workers, stretches

DILATIONS = (1, 3, 9)
ENCODER_STRIDES = (2, 4, 5, 5)
DECODER_STRIDES = (5, 5, 4, 2)
FRAME_SIZE = 200

# Frames of latent that are computed at once, so that memory does not grow with the utterance (a stage of the
# generator holds 4 MB a second), and how far the stacks see to either side (28 frames; rounded up).
_SEGMENT = 640
_CONTEXT = 32


class Encoder(nn.Module):
    """Waveform -> latent; names and shapes as published."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        layers: list[nn.Module] = [Conv(1, 32, 7)]
        width = 32
        for stride in ENCODER_STRIDES:
            units = [ResidualUnit(width, dilation) for dilation in DILATIONS]
            layers.append(Stage(*units, Activation(width), Conv(width, 2 * width, 2 * stride, stride=stride)))
            width *= 2
        self.block = nn.ModuleList([*layers, Activation(width), Conv(width, 256, 3)])

    def forward(self, wav: Tensor, workers: Workers, observe: Callable[[str, Tensor], None] | None = None) -> Tensor:
        """Return the latent float32 [T, 256] of ``wav`` float32 [S], T = floor((S + 48) / 200), S >= 152.

        ``observe`` is called with the name and output of each layer of every segment.
        """
        frames = frames_of(wav)
        parts = []
        for start, stop, first, last in segments(frames):
            # What lies behind the last whole frame belongs to the last segment.
            end = len(wav) if last == frames else last * FRAME_SIZE
            part = self._segment(wav[first * FRAME_SIZE : end], workers, observe)
            parts.append(part[start - first : stop - first])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _segment(self, wav: Tensor, workers: Workers, observe: Callable[[str, Tensor], None] | None) -> Tensor:
        layers = list(self.block)
        x = _conv(layers[0], _pad(wav[:, None], 3, 3))
        for number, stage in enumerate(layers[:5]):
            if number:
                x = _encoder_stage(stage, x, ENCODER_STRIDES[number - 1], workers)
            if observe:
                observe(f"enc{number}", x.T)
        x = activate(layers[5], x, 0, len(x), Scratch())
        if observe:
            observe("enc5", x.T)
        return _conv(layers[6], _pad(x, 1, 1))


class Generator(nn.ModuleList):
    """Latent -> waveform; names and shapes as published."""

    def __init__(self, width: int) -> None:
        """``width``: channels of its first layer."""
        layers: list[nn.Module] = [Conv(256, width, 7)]
        for stride in DECODER_STRIDES:
            units = [ResidualUnit(width // 2, dilation) for dilation in DILATIONS]
            layers.append(Stage(Activation(width), TransposedConv(width, width // 2, stride), *units))
            width //= 2
        super().__init__([*layers, Activation(width), Conv(width, 1, 7)])

    def forward(self, latent: Tensor, observe: Callable[[str, Tensor], None] | None = None) -> Tensor:
        """Return float32 [200 T] in [-1, 1] of ``latent`` float32 [T, 256].

        ``observe`` is called with the name and output of each layer of every segment.
        """
        frames = len(latent)
        parts = []
        with Workers(latent.device) as workers:
            for start, stop, first, last in segments(frames):
                part = self._segment(latent[first:last], workers, observe)
                parts.append(part[(start - first) * FRAME_SIZE : (stop - first) * FRAME_SIZE])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _segment(self, x: Tensor, workers: Workers, observe: Callable[[str, Tensor], None] | None) -> Tensor:
        layers = list(self)
        x = _conv(layers[0], _pad(x, 3, 3))
        for number, stage in enumerate(layers[:5]):
            if number:
                x = _decoder_stage(stage, x, DECODER_STRIDES[number - 1], workers)
            if observe:
                observe(f"dec{number}", x.T)
        if observe:
            observe("dec5", activate(layers[5], x, 0, len(x), Scratch()).T)

        def work(scratch: Scratch, start: int, stop: int) -> Tensor:
            low, high = max(0, start - 3), min(len(x), stop + 3)
            y = _pad(activate(layers[5], x, low, high, scratch), low - start + 3, stop + 3 - high)
            return _conv(layers[6], y)

        wav = workers.each(work, x.new_empty(len(x), 1), stretches(x, len(x)))
        if observe:
            observe("dec6", wav.T)
        wav.tanh_()
        if observe:
            observe("dec7", wav.T)
        return wav[:, 0]


def frames_of(wav: Tensor) -> int:
    """Frames that the encoder makes of ``wav`` [S]."""
    return (len(wav) + 48) // FRAME_SIZE


def segments(frames: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop, first, last) of every segment: keep start .. stop of what is computed from first .. last."""
    for start in range(0, frames, _SEGMENT):
        stop = min(start + _SEGMENT, frames)
        yield start, stop, max(0, start - _CONTEXT), min(frames, stop + _CONTEXT)


def _encoder_stage(stage: nn.Module, x: Tensor, stride: int, workers: Workers) -> Tensor:
    *units, act, conv = _layers(stage)
    for unit in units:
        x = _residual_unit(unit, x, workers)
    padding = -(-stride // 2)
    length = (len(x) + 2 * padding - 2 * stride) // stride + 1

    def work(scratch: Scratch, first: int, last: int) -> Tensor:
        start, stop = first * stride - padding, (last + 1) * stride - padding
        low, high = max(0, start), min(len(x), stop)
        y = _pad(activate(act, x, low, high, scratch), low - start, stop - high)
        return _conv(conv, y)

    return workers.each(work, workers.buffer(x, length, 2 * x.shape[1]), stretches(x, length, stride))


def _decoder_stage(stage: nn.Module, x: Tensor, stride: int, workers: Workers) -> Tensor:
    act, conv, *units = _layers(stage)
    assert isinstance(conv, TransposedConv)
    padding = -(-stride // 2)
    width = x.shape[1] // 2

    def work(scratch: Scratch, start: int, stop: int) -> Tensor:
        low, high = max(0, start - 1), min(len(x), stop + 1)
        y = _pad(activate(act, x, low, high, scratch), low - start + 1, stop + 1 - high)
        reached = conv.packed(y).view(-1, width)
        return reached[padding : padding + (stop - start) * stride].view(stop - start, stride * width)

    result = workers.buffer(x, len(x), stride * width)
    result = workers.each(work, result, stretches(x, len(x))).view(-1, width)
    for unit in units:
        result = _residual_unit(unit, result, workers)
    return result


def _residual_unit(unit: nn.Module, x: Tensor, workers: Workers) -> Tensor:
    first, wide, second, narrow = _layers(unit)
    assert isinstance(wide, Conv)
    length, reach = len(x), 3 * wide.dilation

    def work(scratch: Scratch, start: int, stop: int) -> Tensor:
        inner_low, inner_high = max(0, start - REACH), min(length, stop + REACH)
        low, high = max(0, inner_low - reach), min(length, inner_high + reach)
        y = activate(first, x, low, high, scratch)
        y = _conv(wide, _pad(y, low - inner_low + reach, inner_high + reach - high))
        # Cut in the middle of the signal, y goes on beyond both ends of the stretch as far as the activation looks.
        y = activate(second, y, start - inner_low, stop - inner_low, scratch)
        return _conv(narrow, y)

    return workers.each(work, workers.buffer(x, *x.shape), stretches(x, length), add=x)


def _layers(stage: nn.Module) -> list[nn.Module]:
    assert isinstance(stage, Stage | ResidualUnit)
    return list(stage.block)


def _conv(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, Conv)
    return layer.packed(x)


def _pad(x: Tensor, before: int, behind: int) -> Tensor:
    """[n, C] with rows of zeros before and behind it."""
    return F.pad(x, (0, 0, before, behind)) if before or behind else x

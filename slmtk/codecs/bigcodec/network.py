"""The network of BigCodec: convolutions and an LSTM between audio and frames, one codebook between frames and codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slmtk.codecs._blocks import SkipLstm, nearest
from slmtk.codecs._network import CodecNetwork
from slmtk.codecs.bigcodec.activation import TAPS, SmoothSnake
from slmtk.codecs.rendering import reach

CODES = 8192
_WIDTH = 1024  # of the frames
_CODE_WIDTH = 8  # of the codebook's rows
_CHANNELS = 48  # at the sample rate
_STRIDES = (2, 2, 2, 5, 5)
_DILATIONS = (1, 3, 9)
_ACTIVATION = TAPS // 2 - 1  # samples that an activation sees to either side
_UNITS = 3 * sum(_DILATIONS) + 2 * _ACTIVATION * len(_DILATIONS)
DECODER_REACH = reach(_STRIDES[::-1], first=_ACTIVATION, unit=_UNITS + _ACTIVATION, last=3)
"""Frames before and behind one that the decoder's layers after the LSTM look at."""


class ResidualUnit(nn.Sequential):
    """A dilated convolution and one of width one, added to their input: [B, C, L] -> [B, C, L]."""

    def __init__(self, channels: int, dilation: int) -> None:
        """``dilation`` in samples."""
        super().__init__(
            SmoothSnake(channels),
            nn.Conv1d(channels, channels, 7, dilation=dilation, padding=3 * dilation),
            SmoothSnake(channels),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] -> [B, C, L]."""
        out = x
        for layer in self:
            out = layer(out)
        return x + out


def _units(channels: int) -> list[nn.Module]:
    return [ResidualUnit(channels, dilation) for dilation in _DILATIONS]


def _encoder() -> nn.Sequential:
    """[B, 1, 200 T] -> [B, 1024, T]."""
    channels = _CHANNELS
    layers: list[nn.Module] = [nn.Conv1d(1, channels, 7, padding=3)]
    for stride in _STRIDES:
        down = nn.Conv1d(channels, 2 * channels, 2 * stride, stride, padding=-(-stride // 2))
        layers.append(nn.Sequential(*_units(channels), SmoothSnake(channels), down))
        channels *= 2
    layers += [SkipLstm(channels), SmoothSnake(channels), nn.Conv1d(channels, _WIDTH, 3, padding=1)]
    return nn.Sequential(*layers)


def _decoder() -> nn.Sequential:
    """[B, 1024, T] -> [B, 1, 200 T]."""
    channels = _CHANNELS * 2 ** len(_STRIDES)
    layers: list[nn.Module] = [nn.Conv1d(_WIDTH, channels, 7, padding=3), SkipLstm(channels)]
    for stride in reversed(_STRIDES):
        half = channels // 2
        up = nn.ConvTranspose1d(channels, half, 2 * stride, stride, padding=-(-stride // 2), output_padding=stride % 2)
        layers.append(nn.Sequential(SmoothSnake(channels), up, *_units(half)))
        channels = half
    layers += [SmoothSnake(channels), nn.Conv1d(channels, 1, 7, padding=3), nn.Tanh()]
    return nn.Sequential(*layers)


class CosineQuantizer(nn.Module):
    """One codebook in a space of its own, eight wide, searched by direction."""

    def __init__(self) -> None:
        """Sizes are those of the published model."""
        super().__init__()
        self.in_proj = nn.Linear(_WIDTH, _CODE_WIDTH)
        self.codebook = nn.Parameter(torch.empty(CODES, _CODE_WIDTH))
        self.out_proj = nn.Linear(_CODE_WIDTH, _WIDTH)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames float [B, D, T] -> codes int64 [B, 1, T]."""
        points = F.normalize(self.in_proj(frames.transpose(1, 2)), dim=-1)
        codes = nearest(points.flatten(0, 1), F.normalize(self.codebook, dim=-1))
        return codes.view(len(frames), 1, -1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, 1, T] -> frames float [B, D, T], of the rows as they are, not of their directions."""
        frames: Tensor = self.out_proj(self.codebook[codes[:, 0]])
        return frames.transpose(1, 2)


class Network(CodecNetwork):
    """Audio <-> codes; the LSTMs look back over the whole utterance."""

    def __init__(self) -> None:
        """Sizes are those of the published model."""
        super().__init__()
        self.encoder = _encoder()
        self.quantizer = CosineQuantizer()
        self.decoder = _decoder()

    def encode(self, wav: Tensor) -> Tensor:
        """Float32 [B, 200 T] -> codes int64 [B, 1, T]."""
        return self.quantizer.encode(self.encoder(wav[:, None]))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, 1, T] -> float32 [B, 200 T]."""
        wav: Tensor = self.decoder(self.quantizer.decode(codes))[:, 0]
        return wav

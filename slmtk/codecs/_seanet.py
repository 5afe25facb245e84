"""SEANet: the convolutional encoder and decoder of EnCodec, from which SpeechTokenizer and WavTokenizer are made.

Source: Défossez et al., High Fidelity Neural Audio Compression (arXiv 2210.13438), the variant that is not causal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slmtk.codecs._blocks import SkipLstm

Activation = Callable[[int], nn.Module]


class PaddedConv(nn.Module):
    """Convolution whose input is padded by reflection so that L samples become ceil(L / stride)."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        """``kernel`` and ``stride`` in samples."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, channels, kernel))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] -> [B, C', ceil(L / stride)]."""
        total = self.weight.shape[2] - self.stride
        right = total // 2
        padded = reflect_pad(x, total - right, right + -x.shape[2] % self.stride)
        return F.conv1d(padded, self.weight, self.bias, self.stride)


def reflect_pad(x: Tensor, left: int, right: int) -> Tensor:
    """Mirror ``x`` [B, C, L] at both ends without repeating its edge: [B, C, left + L + right].

    What is too short to be mirrored gets zeros at its right end first; as many samples are dropped there afterwards.
    """
    zeros = max(0, max(left, right) - x.shape[2] + 1)
    padded = F.pad(F.pad(x, (0, zeros)), (left, right), mode="reflect")
    return padded[..., : padded.shape[2] - zeros]


class TrimmedTransposedConv(nn.Module):
    """Transposed convolution, its kernel twice its stride, that makes L samples exactly L * stride."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        """``stride`` in samples of the output."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, out_channels, 2 * stride))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] -> [B, C', L * stride]."""
        out = F.conv_transpose1d(x, self.weight, self.bias, self.stride)
        right = self.stride // 2
        return out[..., self.stride - right : out.shape[2] - right]


class Snake(nn.Module):
    """x + sin(a x)^2 / a with one ``a`` per channel. Source: Ziyin et al., arXiv 2006.08195."""

    def __init__(self, channels: int) -> None:
        """``channels`` is C."""
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] -> [B, C, L]."""
        return torch.addcmul(x, (x * self.alpha).sin_().square_(), 1 / (self.alpha + 1e-9))


class ResidualBlock(nn.Module):
    """Two convolutions through half the channels, added to a convolution of width one."""

    def __init__(self, channels: int, activation: Activation) -> None:
        """``channels`` is C."""
        super().__init__()
        half = channels // 2
        self.block = nn.Sequential(
            activation(channels), PaddedConv(channels, half, 3), activation(half), PaddedConv(half, channels, 1)
        )
        self.shortcut = PaddedConv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] -> [B, C, L]."""
        out: Tensor = self.shortcut(x) + self.block(x)
        return out


def elu(channels: int) -> nn.Module:
    """The activation of EnCodec; it has no weights, whatever the ``channels``."""
    return nn.ELU()


def encoder(
    channels: int, strides: Sequence[int], width: int, activation: Activation = elu, *, bidirectional: bool = False
) -> nn.Sequential:
    """[B, 1, S] -> [B, width, ceil(S / frame_size)]; the layers' numbers are those of the published weights.

    Args:
        channels: of the first layer; every stride doubles them, and they must come to ``width``.
        strides: in the order of the way from audio to frames; their product is the frame size.
        width: D of the frames.
        activation: makes the activation for a number of channels.
        bidirectional: whether the LSTM goes both ways.
    """
    layers: list[nn.Module] = [PaddedConv(1, channels, 7)]
    for stride in strides:
        layers += [
            ResidualBlock(channels, activation),
            activation(channels),
            PaddedConv(channels, 2 * channels, 2 * stride, stride),
        ]
        channels *= 2
    states = 2 * channels if bidirectional else channels
    layers += [
        SkipLstm(channels, bidirectional=bidirectional),
        activation(states),
        PaddedConv(states, width, 7),
    ]
    return nn.Sequential(*layers)


def decoder(channels: int, strides: Sequence[int], width: int, activation: Activation = elu) -> nn.Sequential:
    """[B, width, T] -> [B, 1, T * frame_size]; mirrors `encoder`, whose arguments it takes, strides in its order."""
    channels *= 2 ** len(strides)
    layers: list[nn.Module] = [PaddedConv(width, channels, 7), SkipLstm(channels)]
    for stride in reversed(strides):
        layers += [
            activation(channels),
            TrimmedTransposedConv(channels, channels // 2, stride),
            ResidualBlock(channels // 2, activation),
        ]
        channels //= 2
    layers += [activation(channels), PaddedConv(channels, 1, 7)]
    return nn.Sequential(*layers)

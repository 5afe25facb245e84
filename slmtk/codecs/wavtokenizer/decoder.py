"""The decoder of WavTokenizer: frames -> spectra with an attention over the whole utterance -> audio.

Sources: Ji et al., WavTokenizer (arXiv 2408.16532); Siuzdak, Vocos (arXiv 2306.00814).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-6
_CLASSES = 4  # of the conditional layer norm: the training's bandwidths, which were all the same
_MAX_MAGNITUDE = 100.0
_OVERLAP = 4  # windows over each sample


def _group_norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=_EPS)


class ResnetBlock(nn.Module):
    """Two convolutions over normalised frames, added to their input: [B, C, T] -> [B, C, T]."""

    def __init__(self, width: int) -> None:
        """``width`` is C."""
        super().__init__()
        self.norm1 = _group_norm(width)
        self.conv1 = nn.Conv1d(width, width, 3, padding=1)
        self.norm2 = _group_norm(width)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        inner = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = x + self.conv2(F.silu(self.norm2(inner)))
        return out


class AttentionBlock(nn.Module):
    """One head of attention over all frames, added to its input: [B, C, T] -> [B, C, T]."""

    def __init__(self, width: int) -> None:
        """``width`` is C."""
        super().__init__()
        self.norm = _group_norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        normed = self.norm(x)
        query, key, value = (part(normed).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(query, key, value)[:, 0].transpose(1, 2)
        out: Tensor = x + self.proj_out(mixed)
        return out


class ConditionalLayerNorm(nn.Module):
    """Layer norm whose scale and shift are chosen by a class: [B, T, C] -> [B, T, C]."""

    def __init__(self, width: int) -> None:
        """``width`` is C."""
        super().__init__()
        self.scale = nn.Embedding(_CLASSES, width)
        self.shift = nn.Embedding(_CLASSES, width)

    def forward(self, x: Tensor, bandwidth: int) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        normed = F.layer_norm(x, x.shape[-1:], eps=_EPS)
        return normed * self.scale.weight[bandwidth] + self.shift.weight[bandwidth]


class ConvNextBlock(nn.Module):
    """A convolution channel by channel, then two linear layers frame by frame, added to the input."""

    def __init__(self, width: int) -> None:
        """``width`` is C."""
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = ConditionalLayerNorm(width)
        self.pwconv1 = nn.Linear(width, 3 * width)
        self.pwconv2 = nn.Linear(3 * width, width)
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor, bandwidth: int) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        inner = self.norm(self.dwconv(x).transpose(1, 2), bandwidth)
        inner = self.gamma * self.pwconv2(F.gelu(self.pwconv1(inner)))
        out: Tensor = x + inner.transpose(1, 2)
        return out


class Backbone(nn.Module):
    """Frames of the codebook -> what the spectra are read from: [B, D, T] -> [B, T, C]."""

    def __init__(self, width_in: int, width: int = 768, layers: int = 12) -> None:
        """``width_in`` is D, ``width`` is C."""
        super().__init__()
        self.embed = nn.Conv1d(width_in, width, 7, padding=3)
        self.pos_net = nn.Sequential(
            ResnetBlock(width),
            ResnetBlock(width),
            AttentionBlock(width),
            ResnetBlock(width),
            ResnetBlock(width),
            _group_norm(width),
        )
        self.norm = ConditionalLayerNorm(width)
        self.convnext = nn.ModuleList(ConvNextBlock(width) for _ in range(layers))
        self.final_layer_norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: Tensor, bandwidth: int) -> Tensor:
        """[B, D, T] -> [B, T, C]."""
        x = self.pos_net(self.embed(x))
        x = self.norm(x.transpose(1, 2), bandwidth).transpose(1, 2)
        for block in self.convnext:
            x = block(x, bandwidth)
        out: Tensor = self.final_layer_norm(x.transpose(1, 2))
        return out


class Spectrum(nn.Module):
    """The window of the inverse transform, four frames long."""

    window: Tensor

    def __init__(self, size: int) -> None:
        """``size`` in samples."""
        super().__init__()
        self.register_buffer("window", torch.empty(size))

    def forward(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """Spectra [B, T, size / 2 + 1], phase in radians -> audio [B, T * frame_size], overlapping parts added."""
        size, frames = self.window.shape[0], magnitude.shape[1]
        imaginary = magnitude * phase.sin()
        # A real signal has none at both ends of its spectrum; not every transform ignores what is there.
        imaginary[..., 0] = imaginary[..., -1] = 0
        parts = torch.fft.irfft(torch.complex(magnitude * phase.cos(), imaginary), size) * self.window
        weights = self.window.square().expand(1, frames, size)
        cut = (size - size // _OVERLAP) // 2
        return _overlap_add(parts)[:, cut:-cut] / _overlap_add(weights)[:, cut:-cut]


def _overlap_add(parts: Tensor) -> Tensor:
    """[B, T, size], each a quarter of its size after the one before -> [B, (T + 3) * size / 4]."""
    batch, frames, size = parts.shape
    quarters = parts.reshape(batch, frames, _OVERLAP, size // _OVERLAP)
    out = parts.new_zeros(batch, frames + _OVERLAP - 1, size // _OVERLAP)
    for index in range(_OVERLAP):
        out[:, index : index + frames] += quarters[:, :, index]
    return out.flatten(1)


class Head(nn.Module):
    """Log magnitudes and phases of each frame's spectrum -> audio: [B, T, C] -> [B, T * frame_size]."""

    def __init__(self, frame_size: int, width: int = 768) -> None:
        """``frame_size`` in samples."""
        super().__init__()
        size = _OVERLAP * frame_size
        self.out = nn.Linear(width, size + 2)
        self.istft = Spectrum(size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T * frame_size]."""
        magnitude, phase = self.out(x).chunk(2, -1)
        wav: Tensor = self.istft(magnitude.exp().clamp(max=_MAX_MAGNITUDE), phase)
        return wav

"""FACodec's parameters by their published names, and weights put together from direction and norm once."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from slmtk.codecs.facodec import tables


@runtime_checkable
class Foldable(Protocol):
    """A layer with a stored form and one to compute with."""

    def fold(self) -> None:
        """Go over to the form to compute with and let the stored one go."""


def empty(*shape: int) -> nn.Parameter:
    """A parameter that a checkpoint will fill: float32 ``shape``."""
    return nn.Parameter(torch.empty(*shape), requires_grad=False)


class Normed(nn.Module):
    """Weight-normed layer: ``weight_g * weight_v / |weight_v|``, the norm over all axes but the first.

    Transposed convolutions keep their input channels on the first axis, all other layers the output channels.
    """

    def __init__(self, *shape: int, bias: int) -> None:
        """``shape`` of the weight; ``bias``: output channels."""
        super().__init__()
        self.bias = empty(bias)
        self.weight_g = empty(shape[0], *[1] * (len(shape) - 1))
        self.weight_v = empty(*shape)
        self.register_buffer("weight", None, persistent=False)

    weight: Tensor

    def fold(self) -> None:
        """Put the weight together and let the two parts go: kept once, and nothing to do at every call."""
        v = self.weight_v
        norm = torch.linalg.vector_norm(v, dim=tuple(range(1, v.ndim)), keepdim=True)
        self.weight = self.weight_g * v / norm
        del self.weight_g, self.weight_v


class Conv(Normed):
    """1-d convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        """Weight [outputs, inputs, kernel]."""
        super().__init__(outputs, inputs, kernel, bias=outputs)


class TransposedConv(Normed):
    """1-d transposed convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        """Weight [inputs, outputs, kernel]."""
        super().__init__(inputs, outputs, kernel, bias=outputs)


class Projection(Normed):
    """Linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Weight [outputs, inputs]."""
        super().__init__(outputs, inputs, bias=outputs)


class _Filter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", tables.resampling_filter())

    filter: Tensor


class _Downsample(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lowpass = _Filter()


class _SnakeParameters(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = empty(channels)
        self.beta = empty(channels)


class Activation(nn.Module):
    """Parameters of an anti-aliased snake; `slmtk.codecs.facodec.snake` computes it.

    Attributes:
        frequency: e^alpha, float32 [C, 1].
        depth: root of 1 / (e^beta + 1e-9), float32 [C, 1].
        up: taps of the filter that doubles the rate, twice the stored ones.
        down: taps of the filter that halves it.
    """

    def __init__(self, channels: int) -> None:
        """``channels`` C."""
        super().__init__()
        self.act = _SnakeParameters(channels)
        self.upsample = _Filter()
        self.downsample = _Downsample()
        self.register_buffer("frequency", None, persistent=False)
        self.register_buffer("depth", None, persistent=False)
        self.up: list[float] = []
        self.down: list[float] = []

    frequency: Tensor
    depth: Tensor

    def fold(self) -> None:
        """Compute what every call needs and let the stored form go."""
        self.frequency = self.act.alpha.exp()[:, None]
        self.depth = (1 / (self.act.beta.exp() + 1e-9)).sqrt()[:, None]
        self.up = (2 * self.upsample.filter).flatten().tolist()
        self.down = self.downsample.lowpass.filter.flatten().tolist()
        del self.act, self.upsample, self.downsample


class ResidualUnit(nn.Module):
    """x + conv1(act(conv7(act(x)))): children 0..3 of ``block``; the dilation is the stage's business."""

    def __init__(self, channels: int) -> None:
        """``channels`` in and out."""
        super().__init__()
        self.block = nn.ModuleList(
            [Activation(channels), Conv(channels, channels, 7), Activation(channels), Conv(channels, channels, 1)]
        )


class Stage(nn.Module):
    """Layers that are numbered under ``block``."""

    def __init__(self, *layers: nn.Module) -> None:
        """In the order of their numbers."""
        super().__init__()
        self.block = nn.ModuleList(layers)


def fold(module: nn.Module) -> None:
    """Fold every layer of ``module`` that has a folded form."""
    for child in list(module.modules()):
        if isinstance(child, Foldable):
            child.fold()

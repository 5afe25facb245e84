"""FACodec's parameters by their published names, and weights put together and laid out once."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from slmtk.codecs.facodec import tables
from slmtk.codecs.facodec.packed import PackedConv


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
    """1-d convolution of [n, inputs] without padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        """Weight [outputs, inputs, kernel]."""
        super().__init__(outputs, inputs, kernel, bias=outputs)
        self.stride, self.dilation = stride, dilation

    packed: PackedConv

    def fold(self) -> None:
        """Go over to the packed form."""
        super().fold()
        self.packed = PackedConv(self.weight, self.bias, stride=self.stride, dilation=self.dilation)
        del self.weight, self.bias


class TransposedConv(Normed):
    """1-d transposed convolution of kernel 2 s and stride s, as a convolution of kernel 2 with s times the outputs.

    [n, inputs] -> [n - 1, s outputs], which in memory is [(n - 1) s, outputs]: the samples that two neighbours reach.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Weight [inputs, outputs, 2 stride]."""
        super().__init__(inputs, outputs, 2 * stride, bias=outputs)
        self.stride = stride

    packed: PackedConv

    def fold(self) -> None:
        """Go over to the packed form."""
        super().fold()
        inputs, outputs = self.weight.shape[:2]
        later, earlier = self.weight.view(inputs, outputs, 2, self.stride).unbind(2)
        weight = torch.stack([earlier, later], -1).permute(2, 1, 0, 3).reshape(-1, inputs, 2)
        self.packed = PackedConv(weight, self.bias.repeat(self.stride))
        del self.weight, self.bias


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
        frequency: of the sine, in units of the scaled signal, float32 [C].
        filters: they make the even and the odd samples of the doubled signal, times e^beta + 1e-9, and take each of
            them back. In that scale the square of the sine is added as it is.
    """

    def __init__(self, channels: int) -> None:
        """``channels`` C."""
        super().__init__()
        self.act = _SnakeParameters(channels)
        self.upsample = _Filter()
        self.downsample = _Downsample()
        self.register_buffer("frequency", None, persistent=False)

    frequency: Tensor
    filters: tuple[PackedConv, ...]

    def fold(self) -> None:
        """Compute what every call needs and let the stored form go."""
        scale = self.act.beta.exp() + 1e-9
        self.frequency = self.act.alpha.exp() / scale
        up, down = (2 * self.upsample.filter).flatten().flip(0), self.downsample.lowpass.filter.flatten()
        # Every second tap of the upper filter meets a zero; the lower one takes even and odd samples in turn.
        filters = [taps * scale[:, None, None] for taps in (up[::2], up[1::2])]
        filters += [taps / scale[:, None, None] for taps in (down[1::2], down[::2])]
        self.filters = tuple(PackedConv(taps, None, groups=len(scale)) for taps in filters)
        del self.act, self.upsample, self.downsample


class ResidualUnit(nn.Module):
    """x + conv1(act(conv7(act(x)))): children 0..3 of ``block``."""

    def __init__(self, channels: int, dilation: int) -> None:
        """``channels`` in and out, ``dilation`` of the wide convolution."""
        super().__init__()
        wide, narrow = Conv(channels, channels, 7, dilation=dilation), Conv(channels, channels, 1)
        self.block = nn.ModuleList([Activation(channels), wide, Activation(channels), narrow])


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

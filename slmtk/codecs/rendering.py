"""Codes -> audio a stretch at a time, so that the stretches together are what decoding the whole would have given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from slmtk.spec import CodecSpec

# Where a codec does not say how far its decoder sees: long enough for most, and the joints are faded into each other.
_GUESSED_LEFT, _GUESSED_RIGHT, _FADE = 2.0, 0.1, 0.01  # seconds


def reach(strides: Sequence[int], *, first: int, unit: int, last: int, causal: bool = False) -> tuple[int, int]:
    """How many frames before and behind a frame a decoder of convolutions looks at.

    Args:
        strides: of its transposed convolutions, from frames to samples. Their kernels are twice the stride, and what
            they give too much is cut off at both ends, or behind if ``causal``.
        first: how far the layers before them see to either side, or back if ``causal``, in frames.
        unit: how far those behind one transposed convolution see together, at its output's rate.
        last: how far the layers behind all of them see besides.
        causal: nothing looks ahead.
    """
    low, high = -last, math.prod(strides) - 1 + (0 if causal else last)
    for stride in reversed(strides):
        low, high = low - unit, high + (0 if causal else unit)
        cut = 0 if causal else -(-stride // 2)
        low, high = -((2 * stride - 1 - low - cut) // stride), (high + cut) // stride
    return first - low, high + (0 if causal else first)


class Decoder(Protocol):
    """What of a `slmtk.codecs.base.Codec` decoding needs."""

    @property
    def spec(self) -> CodecSpec:
        """What its codes are."""

    @property
    def decode_context(self) -> tuple[int, int] | None:
        """Frames before and behind a frame that its audio depends on; None if nobody knows."""

    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        """int64 [B, K, T] and float32 [B, D] -> float32 [B, S]."""


class Renderer(ABC):
    """One utterance's decoding; every call goes on where the one before stopped.

    Attributes:
        right: frames behind a stretch that have to be known before it can be rendered, unless the speech ends there.
        overhead: frames that the next call will compute, about, besides those it returns.
        fade: samples behind the stretch that are rendered as well, and again with the next one; 0 if both agree.
        least: frames that have to be known before anything is rendered, unless the speech ends there: a layer that
            mirrors the signal's beginning wants to see so many.
    """

    least: int = 0
    right: int = 0
    overhead: int = 0
    fade: int = 0

    @abstractmethod
    def render(self, codes: Tensor, start: int, stop: int, *, ended: bool) -> Tensor:
        """Return the audio of the frames from ``start`` up to ``stop``.

        Args:
            codes: int64 [K, T], all that is known, from the utterance's first frame on.
            start: the ``stop`` of the call before, or 0.
            stop: at most T - ``right``, or T where the speech has ended.
            ended: whether nothing follows ``codes``.

        Returns:
            float32 [S] in [-1, 1], S = (stop - start) * frame_size and up to ``fade`` samples more.
        """


class WindowRenderer(Renderer):
    """Decodes a stretch together with the frames that its audio depends on, and keeps the middle.

    Exact for a codec with a `Codec.decode_context`. For any other the context is two seconds before the stretch and a
    tenth behind it, and what differs at the joints is faded over in 10 ms.
    """

    def __init__(self, codec: Decoder, speaker: Tensor | None) -> None:
        """``speaker`` is float32 [D], as `Codec.decode` takes it."""
        self._codec = codec
        self._speaker = None if speaker is None else speaker[None]
        rate = codec.spec.frame_rate
        if codec.decode_context is None:
            self._left, self.right = math.ceil(_GUESSED_LEFT * rate), math.ceil(_GUESSED_RIGHT * rate)
            self.fade = min(round(_FADE * codec.spec.sample_rate), self.right * codec.spec.frame_size)
        else:
            self._left, self.right = codec.decode_context
        self.overhead = self._left + self.right

    def render(self, codes: Tensor, start: int, stop: int, *, ended: bool) -> Tensor:
        """See `Renderer.render`."""
        size = self._codec.spec.frame_size
        first, last = max(0, start - self._left), min(codes.shape[1], stop + self.right)
        wav = self._codec.decode(codes[None, :, first:last], self._speaker)[0].cpu()
        return wav[(start - first) * size : (stop - first) * size + self.fade]


Front = Callable[["Tensor", int, int, Any], tuple["Tensor", Any]]
"""(codes int64 [1, K, n], start, stop, state) -> (latent float [1, D, m] of those frames, the state behind them)."""


class RecurrentRenderer(Renderer):
    """For decoders that walk over the frames, remembering all of them, before convolutions of finite reach.

    The walk (an LSTM, a causal transformer) is done once, with its state carried on; the convolutions, which are
    nearly all of the work, are given a window of what it left.
    """

    def __init__(
        self,
        front: Front,
        back: Callable[[Tensor], Tensor],
        *,
        front_reach: tuple[int, int],
        back_reach: tuple[int, int],
        frame_size: int,
        least: int = 0,
    ) -> None:
        """Put the two parts of a decoder together.

        Args:
            front: the walk over the frames of a window of codes from ``start`` up to ``stop``; a state of None begins.
            back: float [1, D, m] -> audio float [1, S], of which too much or too little at the end does no harm.
            front_reach: frames before and behind one that the front looks at besides its state.
            back_reach: frames before and behind one that the back looks at.
            frame_size: samples.
            least: see `Renderer`.
        """
        self.least = least
        self._front, self._back = front, back
        self._front_reach, self._back_reach = front_reach, back_reach
        self._size = frame_size
        self.right = front_reach[1] + back_reach[1]
        self.overhead = sum(back_reach)
        self._state: Any = None
        self._walked = 0
        self._latent: Tensor | None = None  # of the frames from self._first up to self._walked
        self._first = 0

    def render(self, codes: Tensor, start: int, stop: int, *, ended: bool) -> Tensor:
        """See `Renderer.render`."""
        import torch

        from slmtk.codecs.precision import full_precision

        first = max(0, start - self._back_reach[0])
        last = codes.shape[1] if ended else min(codes.shape[1] - self._front_reach[1], stop + self._back_reach[1])
        last = min(last, stop + self._back_reach[1])
        with torch.inference_mode(), full_precision():
            latent = self._walk(codes, first, last)
            wav = self._back(latent)[0].float().clamp(-1, 1).cpu()
        wav = wav[(start - first) * self._size : (stop - first) * self._size]
        return torch.nn.functional.pad(wav, (0, (stop - start) * self._size - len(wav)))

    def _walk(self, codes: Tensor, first: int, last: int) -> Tensor:
        """The latent of the frames from ``first`` up to ``last``; what lies before ``first`` is forgotten."""
        import torch

        before, behind = self._front_reach
        if last > self._walked:
            low = max(0, self._walked - before)
            high = max(last + behind, 0 if low else self.least)
            window = codes[None, :, low:high]
            fresh, self._state = self._front(window, self._walked - low, last - low, self._state)
            self._latent = fresh if self._latent is None else torch.cat([self._latent, fresh], -1)
            self._walked = last
        assert self._latent is not None
        steps = self._latent.shape[-1] // (self._walked - self._first)
        self._latent = self._latent[..., (first - self._first) * steps :]
        self._first = first
        return self._latent[..., : (last - first) * steps]

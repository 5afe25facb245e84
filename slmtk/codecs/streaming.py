"""Codes as they come -> audio as soon as it is certain: from a speech language model's steps to a loudspeaker."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slmtk.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

    from slmtk.codecs.base import Codec


@dataclass(frozen=True)
class Pace:
    """How much audio is decoded at once.

    A stretch costs its own frames and those of its context anew, so stretches grow: the first is heard early, and in
    the long run decoding costs at most one and a half times what decoding the whole would.
    """

    first_seconds: float = 0.1
    """Length of the first stretch."""
    growth: float = 1.5
    """Every stretch is so much longer than the one before: a model that speaks so many times faster than people do
    never lets the listener wait."""
    most_seconds: float = 1.0
    """Length at which stretches stop to grow; a codec whose context is longer than half of it takes twice its
    context."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: a value is out of its range.
        """
        if self.first_seconds <= 0 or self.growth < 1 or self.most_seconds < self.first_seconds:
            raise ConfigError(
                "streaming needs first seconds > 0, growth >= 1 and most seconds >= first seconds; found "
                f"{self.first_seconds}, {self.growth} and {self.most_seconds}"
            )


class StreamDecoder:
    """One utterance's codes in, its audio out: together the samples that `Codec.decode` gives of the whole.

    How near they come to them depends on the codec: see `Codec.decode_context`.
    """

    def __init__(self, codec: Codec, speaker: Tensor | None = None, pace: Pace | None = None) -> None:
        """Begin an utterance.

        Args:
            codec: decodes.
            speaker: float32 [D] if the codec has speaker vectors.
            pace: how much is decoded at once.

        Raises:
            ShapeError: the codec needs a speaker vector and there is none, or one of another width.
        """
        import torch

        self._spec = codec.spec
        self._codes_spec = dataclasses.replace(codec.spec, speaker_dim=0)  # to check codes without their speaker
        width = codec.spec.speaker_dim
        if width and (speaker is None or tuple(speaker.shape) != (width,)):
            found = "none" if speaker is None else str(list(speaker.shape))
            raise ShapeError(f"speaker vector: {found}; {codec.spec.name} needs [{width}]")
        pace = pace or Pace()
        self._renderer = codec.renderer(speaker)
        self._codes = torch.zeros(codec.spec.num_codebooks, 0, dtype=torch.int64)
        rate = codec.spec.frame_rate
        self._next = float(max(1, round(pace.first_seconds * rate)))
        self._most = pace.most_seconds * rate
        self._growth = pace.growth
        self._done = 0
        self._tail: Tensor | None = None  # the samples behind what was given out, to be faded into what follows
        self._ended = False

    @property
    def delay_seconds(self) -> float:
        """Speech that has to be there before the first sound of it can be given out."""
        frames = max(self._renderer.least, round(self._next) + self._renderer.right)
        return frames / self._spec.frame_rate if not self._done else 0.0

    def push(self, codes: Tensor) -> NDArray[np.float32]:
        """Take the next frames and return the audio that has become certain.

        Args:
            codes: int64 [K, n]; n may be 0.

        Returns:
            float32 [S] in [-1, 1]; often empty.

        Raises:
            ShapeError: K or the range of the codes does not fit the codec, or the utterance has ended.
        """
        import torch

        from slmtk.codecs.base import check_codes

        if self._ended:
            raise ShapeError("this utterance has ended; begin another StreamDecoder for more speech")
        check_codes(codes[None], self._codes_spec)
        self._codes = torch.cat([self._codes, codes.cpu()], dim=1)
        pieces = []
        while self._known() >= round(self._next):
            stop = self._done + round(self._next)
            pieces.append(self._render(stop, ended=False))
            most = max(self._most, 2 * self._renderer.overhead)
            self._next = min(self._next * self._growth, max(self._next, most))
        return _joined(pieces)

    def finish(self) -> NDArray[np.float32]:
        """End the utterance and return the rest of its audio, float32 [S]; more calls give nothing more."""
        if self._ended:
            return _joined([])
        self._ended = True
        if self._done == self._codes.shape[1]:
            return _joined([])
        return self._render(self._codes.shape[1], ended=True)

    def _known(self) -> int:
        """Frames that could be rendered now."""
        known = self._codes.shape[1]
        return known - self._renderer.right - self._done if known >= self._renderer.least else 0

    def _render(self, stop: int, *, ended: bool) -> NDArray[np.float32]:
        wav = self._renderer.render(self._codes, self._done, stop, ended=ended)
        samples = (stop - self._done) * self._spec.frame_size
        wav, tail = wav[:samples].clone(), wav[samples:]
        if self._tail is not None and len(self._tail):
            import torch

            fade = min(len(self._tail), len(wav))
            share = (torch.arange(fade) + 0.5) / fade
            wav[:fade] = self._tail[:fade] * (1 - share) + wav[:fade] * share
        self._tail = tail
        self._done = stop
        return wav.numpy()


def stream_decode(
    codec: Codec, codes: Iterable[Tensor], speaker: Tensor | None = None, pace: Pace | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yield the audio of frames that come bit by bit, int64 [K, n] each, as float32 [S] each, none of them empty.

    Raises:
        ShapeError: codes or the speaker vector do not fit the codec.
    """
    decoder = StreamDecoder(codec, speaker, pace)
    for part in codes:
        wav = decoder.push(part)
        if len(wav):
            yield wav
    wav = decoder.finish()
    if len(wav):
        yield wav


def _joined(pieces: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)

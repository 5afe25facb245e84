"""Decoding codec `world` stretch by stretch, sample for sample as WORLD would synthesise the whole utterance.

WORLD cannot begin in the middle: where a pulse stands depends on the pitch of everything before it, and the noise of a
pulse on how many samples have passed. But nearly all of its time goes into pulses. So a stretch is synthesised with
everything before it, in which the voice is as low as WORLD allows (a pulse every 55 ms instead of every 2 to 10): the
noise generator walks on as it would have, and the low pitch is chosen so that the phase arrives where it should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slmtk.codecs.rendering import Renderer
from slmtk.codecs.world.analysis import FFT_SIZE, FRAME_SIZE, SAMPLE_RATE, Floats
from slmtk.codecs.world.quantize import dequantize, voiced
from slmtk.codecs.world.search import Ints
from slmtk.codecs.world.synthesis import CONTEXT_FRAMES, STEPS, aperiodicity, envelope, pulses, refine_pitch
from slmtk.codecs.world.tables import Tables
from slmtk.codecs.world.timbre import Timbre

if TYPE_CHECKING:
    from torch import Tensor

_STEP = FRAME_SIZE // STEPS  # samples
_LOWEST = SAMPLE_RATE / FFT_SIZE + 2.0  # Hz; WORLD takes less than one period a transform for unvoiced
_UNVOICED = 500.0  # Hz, of the pulses that carry noise alone (WORLD's kDefaultF0)
_SMOOTHING = 2  # frames to either side that dequantising sees
# The place of the first pulse counts for the noise of all others, so the beginning keeps its pitch.
_BEGINNING = CONTEXT_FRAMES * STEPS
_FAINT = 1e-12  # power of what is synthesised only to be thrown away
_OVERHEAD = 2 * CONTEXT_FRAMES
# Walking through the past takes 0.08 of the time of rendering it. Stretches are twice the overhead: with half of that
# the walk takes as long as the rendering, and stretches stay short.
_WALK = 0.04
# Blocks as in decoding the whole, which cuts in a rest shortly before a minute; here it is the first one after it.
_BLOCK_FRAMES = 60 * SAMPLE_RATE // FRAME_SIZE


class WorldRenderer(Renderer):
    """One utterance's decoding in one voice: exact in the first 50 seconds, and up to a minute if that is all."""

    right = CONTEXT_FRAMES
    overhead = _OVERHEAD

    def __init__(self, timbre: Timbre, tables: Tables) -> None:
        """``tables`` are the codec's, ``timbre`` is the voice."""
        self._timbre, self._tables = timbre, tables
        self._block = _Block(0)

    def render(self, codes: Tensor, start: int, stop: int, *, ended: bool) -> Tensor:
        """See `Renderer.render`."""
        import torch

        table, final = codes.numpy(), codes.shape[1] if ended else codes.shape[1] - _SMOOTHING
        pieces, first = [], start
        while first < stop:
            last = self._rest(table, first, stop)
            self._take(table, final)
            pieces.append(self._block.synthesize(first, last, min(final, last + self.right)))
            if last < stop:
                self._block = _Block(last)
            first = last
        self.overhead = _OVERHEAD + round(_WALK * (stop - self._block.start))
        wav = np.clip(np.concatenate(pieces), -1.0, 1.0)
        return torch.from_numpy(wav.astype(np.float32))

    def _rest(self, codes: Ints, first: int, stop: int) -> int:
        """Where the present block ends, ``stop`` if it goes on: at the first rest after a minute."""
        begin = max(first, self._block.start + _BLOCK_FRAMES)
        resting = np.flatnonzero(~voiced(codes[:, begin:stop]))
        return begin + int(resting[0]) if len(resting) else stop

    def _take(self, codes: Ints, final: int) -> None:
        """Give the block the features of the frames up to ``final``, of which it may know some."""
        known = self._block.known
        if final <= known:
            return
        first = max(0, known - _SMOOTHING)
        features = dequantize(codes[:, first : final + _SMOOTHING], self._timbre, self._tables)
        fresh = slice(known - first, final - first)
        self._block.extend(features.cepstrum[fresh], features.pitch[fresh])


class _Block:
    """What WORLD synthesises in one go: a minute or less, and some frames before it."""

    def __init__(self, start: int) -> None:
        """``start`` is the block's first frame."""
        self.start = start
        self.origin = max(0, start - CONTEXT_FRAMES)
        self._cepstrum: Floats = np.zeros((0, 0))
        self._pitch: Floats = np.zeros(0)
        self._cycles, self._counted = 0.0, 0  # of the voice, from the origin up to a step
        self._envelope: Floats = np.zeros((0, FFT_SIZE // 2 + 1))
        self._aperiodicity: Floats = np.zeros((0, FFT_SIZE // 2 + 1))

    @property
    def known(self) -> int:
        """Frames, from the utterance's beginning on, up to which the features are known."""
        return self.origin + len(self._pitch)

    def extend(self, cepstrum: Floats, pitch: Floats) -> None:
        """Take the next frames' features, [n, 24] and [n]."""
        self._cepstrum = np.concatenate([self._cepstrum, cepstrum]) if len(self._cepstrum) else cepstrum
        self._pitch = np.concatenate([self._pitch, pitch])

    def synthesize(self, start: int, stop: int, end: int) -> Floats:
        """Return the audio of the frames from ``start`` up to ``stop``, knowing those up to ``end``."""
        begin, stop, end = start - self.origin, stop - self.origin, end - self.origin
        pitch = refine_pitch(self._pitch)
        window = max(0, begin - CONTEXT_FRAMES)
        # Before the voice first sounds, pulses fall on whole samples and rounding decides on which: it must be WORLD's.
        if window * STEPS <= _BEGINNING + 2 * STEPS or not self._pitch[:window].any():
            window = 0
        else:
            pitch = self._hurry(pitch, window * STEPS)
        pitch = np.ascontiguousarray(pitch[: end * STEPS])
        rows = slice(window * STEPS, end * STEPS)
        self._grow(end * STEPS)
        self._envelope[rows] = envelope(self._cepstrum[window:end])
        self._aperiodicity[rows] = aperiodicity(pitch[rows])
        wav = pulses(pitch, self._envelope[: end * STEPS], self._aperiodicity[: end * STEPS])
        self._envelope[rows], self._aperiodicity[rows] = _FAINT, 1.0
        return np.asarray(wav[begin * FRAME_SIZE : stop * FRAME_SIZE])

    def _hurry(self, pitch: Floats, until: int) -> Floats:
        """Low pitch from the beginning up to step ``until``, so low that the phase is right from there on."""
        target = self._count(pitch, until)
        hurried = pitch.copy()

        def cycles(hertz: float) -> float:
            hurried[_BEGINNING:until] = hertz
            edges = ((0, _BEGINNING), (until - 1, until))
            inside = hertz * (until - 1 - _BEGINNING) * _STEP / SAMPLE_RATE
            return inside + sum(float(_sample_pitch(hurried, *edge).sum()) / SAMPLE_RATE for edge in edges)

        lowest, slope = cycles(_LOWEST), cycles(_LOWEST + 1.0) - cycles(_LOWEST)
        hurried[_BEGINNING:until] = _LOWEST + (target - lowest) % 1.0 / slope
        return hurried

    def _count(self, pitch: Floats, until: int) -> float:
        """Cycles from the block's origin up to step ``until``."""
        self._cycles += float(_sample_pitch(pitch, self._counted, until).sum()) / SAMPLE_RATE
        self._counted = until
        return self._cycles

    def _grow(self, steps: int) -> None:
        if steps <= len(self._envelope):
            return
        shape = (2 * steps, FFT_SIZE // 2 + 1)
        self._envelope, self._aperiodicity = np.full(shape, _FAINT), np.ones(shape)


def _sample_pitch(pitch: Floats, start: int, stop: int) -> Floats:
    """Pitch of every sample from step ``start`` up to ``stop`` as WORLD interpolates it, with its rounding.

    Half-way between a voiced and an unvoiced step a sample is either, and rounding decides.
    """
    if stop <= start:
        return np.zeros(0)
    step_seconds = 1000 * FRAME_SIZE / SAMPLE_RATE / STEPS / 1000.0
    steps = np.arange(start, min(stop + 2, len(pitch)))
    times, hertz = steps * step_seconds, pitch[steps]
    sounding = (hertz > 0).astype(np.float64)
    seconds = np.arange(start * _STEP, stop * _STEP) / SAMPLE_RATE
    right = np.clip(np.searchsorted(times, seconds, side="right"), 1, len(times) - 1)
    left = right - 1
    share = (seconds - times[left]) / (times[right] - times[left])
    heard = sounding[left] + share * (sounding[right] - sounding[left]) > 0.5
    return np.where(heard, hertz[left] + share * (hertz[right] - hertz[left]), _UNVOICED)

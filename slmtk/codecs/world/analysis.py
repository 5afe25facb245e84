"""Speech -> pitch and spectral envelope per frame: the first half of the codec's encoder.

Source: WORLD (Morise, Yokomori, Ozawa 2016), through pyworld: DIO and StoneMask for pitch, CheapTrick for the envelope.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLE_RATE = 16_000
FRAME_SIZE = 200
ORDER = 24
"""Mel-cepstral coefficients of a frame: the mean log power, then 23 of shape."""
FFT_SIZE = 1024

_PITCH_RANGE = (60.0, 500.0)
# DIO's continuity rules count frames, so at 12.5 ms a fifth of the voiced frames was lost: it runs at 2.5 ms and every
# frame takes the median of its five. An allowed step of 40 % keeps voicing that 10 % (the default) drops. Each of the
# two brings resynthesised speech nearer to the recording (docs/world-codec.md).
_PITCH_STEPS = 5
_PITCH_CONTINUITY = 0.4
# An envelope sampled every 12.5 ms aliases; the mean of two, this many seconds before and after the frame, less so.
_ENVELOPE_SHIFT = 0.0025
_BLOCK_FRAMES = 60 * SAMPLE_RATE // FRAME_SIZE
_CONTEXT_FRAMES = SAMPLE_RATE // FRAME_SIZE


@dataclass(frozen=True)
class Features:
    """What WORLD hears in an utterance.

    Attributes:
        cepstrum: float64 [T, 24]; column 0 is the mean log power (nat), the others the shape of the log envelope over
            the mel scale.
        pitch: float64 [T] in Hz, 0 where unvoiced.
    """

    cepstrum: Floats
    pitch: Floats


@cache
def pyworld() -> Any:
    """Import pyworld without the warning about pkg_resources that its release 0.3.5 gives rise to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld as module
    return module


def analyse(wav: Floats) -> Features:
    """Return the features of one utterance.

    Audio of more than a minute is analysed a minute at a time with a second of context on either side, so that memory
    does not grow with its length (the envelopes of an hour would fill 1.2 GB).

    Args:
        wav: float64 [S], S a multiple of 200, at 16 kHz.
    """
    num_frames = len(wav) // FRAME_SIZE
    parts = []
    for start in range(0, num_frames, _BLOCK_FRAMES):
        first = max(0, start - _CONTEXT_FRAMES)
        stop = min(num_frames, start + _BLOCK_FRAMES)
        last = min(num_frames, stop + _CONTEXT_FRAMES)
        cepstrum, pitch = _analyse_block(wav[first * FRAME_SIZE : last * FRAME_SIZE])
        parts.append((cepstrum[start - first : stop - first], pitch[start - first : stop - first]))
    return Features(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def _analyse_block(wav: Floats) -> tuple[Floats, Floats]:
    wav = np.ascontiguousarray(wav)
    times: Floats = np.arange(len(wav) // FRAME_SIZE, dtype=np.float64) * (FRAME_SIZE / SAMPLE_RATE)
    pitch = _find_pitch(wav, times)
    cepstrum = sum(
        pyworld().code_spectral_envelope(
            pyworld().cheaptrick(wav, pitch, np.maximum(times + shift, 0.0), SAMPLE_RATE, fft_size=FFT_SIZE),
            SAMPLE_RATE,
            ORDER,
        )
        for shift in (-_ENVELOPE_SHIFT, _ENVELOPE_SHIFT)
    )
    return np.asarray(cepstrum) / 2, pitch


def _find_pitch(wav: Floats, times: Floats) -> Floats:
    fine, _ = pyworld().dio(
        wav,
        SAMPLE_RATE,
        f0_floor=_PITCH_RANGE[0],
        f0_ceil=_PITCH_RANGE[1],
        frame_period=1000 * FRAME_SIZE / SAMPLE_RATE / _PITCH_STEPS,
        speed=4,
        allowed_range=_PITCH_CONTINUITY,
    )
    around = np.arange(len(times))[:, None] * _PITCH_STEPS + np.arange(_PITCH_STEPS) - _PITCH_STEPS // 2
    steps = fine[np.clip(around, 0, len(fine) - 1)]
    voiced = (steps > 0).sum(axis=1)
    ordered = np.sort(np.where(steps > 0, steps, np.inf), axis=1)
    median = ordered[np.arange(len(times)), np.maximum(voiced - 1, 0) // 2]
    coarse = np.where(voiced > _PITCH_STEPS // 2, median, 0.0)
    return np.asarray(pyworld().stonemask(wav, coarse, times, SAMPLE_RATE), dtype=np.float64)

"""Speech -> pitch and mel-cepstrum of its frames, and two utterances' frames paired in time: what pitch and spectrum
are compared on.

Source: WORLD (Morise, Yokomori, Ozawa, "WORLD: A Vocoder-Based High-Quality Speech Synthesis System for Real-Time
Applications", IEICE 2016) through pyworld: DIO and StoneMask for pitch, CheapTrick for the spectral envelope.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slmtk import audio
from slmtk.errors import AudioError, MissingDependencyError, ShapeError
from slmtk.plugins import mended_by

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

SAMPLE_RATE = 16_000
FRAME_MS = 5.0
ORDER = 24
ALPHA = 0.42
"""Warps frequency towards the mel scale at 16 kHz; SPTK's value for that rate."""
PITCH_RANGE = (60.0, 600.0)
QUIETEST_DB = -20.0
"""Frames of less power than this, relative to the mean of the utterance's frames, are silence."""

_FFT_SIZE = 1024
# Matrices of this many pairs of frames take about 1 GB: half a minute of speech on either side.
_MOST_PAIRS = 36_000_000


@dataclass(frozen=True)
class Frames:
    """The frames of an utterance, 5 ms apart, that are not silence.

    Attributes:
        pitch: float64 [T] in Hz, 0 where unvoiced.
        cepstrum: float64 [T, 25]; column 0 is the level (nat of amplitude), the others the shape of the envelope.
    """

    pitch: Floats
    cepstrum: Floats


def analyse(wav: Tensor, sample_rate: int) -> Frames:
    """Return the frames of one utterance; its level changes column 0 of the cepstrum and nothing else.

    Args:
        wav: float32 [S] in [-1, 1].
        sample_rate: Hz; other rates than 16 kHz are resampled, so that codecs of any rate are compared on one band.

    Raises:
        ShapeError: ``wav`` is not [S].
        AudioError: it holds NaN or infinite samples ("nan"), or nothing but silence ("empty").
        MissingDependencyError: the extra ``embedded`` is not installed.
    """
    if wav.ndim != 1:
        raise ShapeError(f"audio is {list(wav.shape)}; one utterance [S] is analysed at a time")
    samples = audio.resample(wav.detach().cpu().float(), sample_rate, SAMPLE_RATE).numpy().astype(np.float64)
    if not np.isfinite(samples).all():
        raise AudioError("an utterance to measure holds NaN or infinite samples", kind="nan")
    peak = np.abs(samples).max(initial=0.0)
    if peak < 1e-4:
        raise AudioError("an utterance to measure is silent", kind="empty")
    # CheapTrick has a floor of its own, which would lie higher in quiet speech.
    samples /= peak
    world = pyworld()
    low, high = PITCH_RANGE
    # Harvest, or DIO with a step of more than its 10 %, calls more frames voiced and errs by octaves in them, and then
    # those are all that an RMSE tells.
    coarse, times = world.dio(samples, SAMPLE_RATE, f0_floor=low, f0_ceil=high, frame_period=FRAME_MS)
    pitch = world.stonemask(samples, coarse, times, SAMPLE_RATE)
    power = world.cheaptrick(samples, pitch, times, SAMPLE_RATE, f0_floor=low, fft_size=_FFT_SIZE)
    level = power.mean(axis=1)
    loud = level > level.mean() * 10 ** (QUIETEST_DB / 10)
    cepstrum = mel_cepstrum(power[loud])
    cepstrum[:, 0] += np.log(peak)
    return Frames(pitch[loud], cepstrum)


def mel_cepstrum(power: Floats, order: int = ORDER, alpha: float = ALPHA) -> Floats:
    """Return the mel-cepstra of power spectra.

    Source: Tokuda et al., "Mel-generalized cepstral analysis", ICSLP 1994, by way of frequency transformation
    (Oppenheim and Johnson, "Discrete representation of signals", Proc. IEEE 1972), as SPTK's sp2mc.

    Args:
        power: float64 [T, N / 2 + 1], positive.
        order: coefficients beside the zeroth.
        alpha: of the all-pass filter that warps frequency.

    Returns:
        float64 [T, order + 1]: log |H| of warped frequency w is column 0 + sum of column m times cos(m w).
    """
    bins = power.shape[1]
    cepstrum = np.fft.irfft(np.log(power), axis=1)[:, :bins]
    # The last one stands for itself and its mirror image, the others for themselves alone; the level is a half.
    cepstrum[:, [0, -1]] /= 2
    warped: Floats = cepstrum @ _warping(order, bins, alpha).T
    return warped


@cache
def _warping(order: int, length: int, alpha: float) -> Floats:
    """The matrix [order + 1, length] that warps a cepstrum, by the recursion of Oppenheim and Johnson."""
    warped = np.zeros((order + 1, length))
    for place in reversed(range(length)):
        before = warped.copy()
        warped[0] = alpha * before[0]
        warped[0, place] += 1
        warped[1] = (1 - alpha**2) * before[0] + alpha * before[1]
        for row in range(2, order + 1):
            warped[row] = before[row - 1] + alpha * (before[row] - warped[row - 1])
    return warped


def align(first: Frames, second: Frames) -> tuple[Places, Places]:
    """Pair the frames of two utterances by dynamic time warping of their cepstra, the level left out.

    Source: Sakoe and Chiba, "Dynamic programming algorithm optimization for spoken word recognition", IEEE TASSP 1978;
    steps (1, 1), (0, 1), (1, 0) of equal weight, by librosa.

    Returns:
        Places int64 [P] in ``first`` and in ``second``, from the first pair to the last.

    Raises:
        AudioError: together they are too long ("too_long"): half a minute each, silences not counted.
    """
    if len(first.pitch) * len(second.pitch) > _MOST_PAIRS:
        seconds = [len(frames.pitch) * FRAME_MS / 1000 for frames in (first, second)]
        raise AudioError(f"{seconds[0]:.0f} s and {seconds[1]:.0f} s of speech are too long to align", kind="too_long")
    from librosa.sequence import dtw
    from scipy.spatial.distance import cdist

    _, pairs = dtw(C=cdist(first.cepstrum[:, 1:], second.cepstrum[:, 1:]))
    path: Places = np.asarray(pairs[::-1], dtype=np.int64)
    return path[:, 0], path[:, 1]


@cache
def pyworld() -> Any:
    """Import pyworld, without the warning about pkg_resources that its release 0.3.5 gives rise to.

    Raises:
        MissingDependencyError: the extra ``embedded`` is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("pyworld")
    except ModuleNotFoundError as error:
        missing = error.name or "pyworld"
        raise MissingDependencyError(
            f"pitch and spectrum need the package {missing!r}, which is not installed: "
            f"pip install '{mended_by(missing)}'"
        ) from error

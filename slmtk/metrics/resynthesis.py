"""Speech and the recording that it was made from, sample by sample -> what a codec has done to it: PESQ and STOI."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slmtk import audio
from slmtk.errors import AudioError, MissingDependencyError, ShapeError
from slmtk.plugins import mended_by

if TYPE_CHECKING:
    from torch import Tensor

Samples = NDArray[np.float32]

SAMPLE_RATE = 16_000
MOST_SHIFT = 0.1
"""Seconds by which speech may lie before or behind its recording, or be longer or shorter."""
MOST_SECONDS = 60.0
PESQ_SECONDS = 15.0
"""PESQ was made for clips of 8 to 12 s, and its reference code crashes where more than 50 stretches of speech, 0.2 s
each with as much between them, are in one: longer ones are judged in equal parts."""

_HOP = SAMPLE_RATE // 1000
# STOI compares stretches of 30 frames, 384 ms, of what is not silence; less than one gives no number.
_STOI_WARNING = "Not enough STFT frames"


def line_up(speech: Tensor, recording: Tensor, sample_rate: int) -> tuple[Samples, Samples]:
    """Return speech and recording at 16 kHz, shifted against each other and cut to what both have.

    The shift is the one, in ms and of 100 ms at most, at which their loudness per ms goes together best: a vocoder's
    speech follows a recording's loudness, not its waveform.

    Args:
        speech: float32 [S] in [-1, 1].
        recording: float32 [S'] in [-1, 1].
        sample_rate: of both, Hz.

    Returns:
        Both float32 [S''] at 16 kHz.

    Raises:
        ShapeError: one of them is not [S].
        AudioError: one is silent ("empty"), holds NaN ("nan") or is over a minute long ("too_long"), or their lengths
            differ by more than 0.1 s, so that one cannot be the resynthesis of the other ("other_length").
    """
    heard, meant = _samples(speech, sample_rate), _samples(recording, sample_rate)
    apart = abs(len(heard) - len(meant)) / SAMPLE_RATE
    if apart > MOST_SHIFT:
        raise AudioError(
            f"speech and recording differ by {apart:.2f} s in length; a resynthesis is as long as its recording",
            kind="other_length",
        )
    shift = _shift(heard, meant) * _HOP
    heard, meant = heard[max(0, shift) :], meant[max(0, -shift) :]
    length = min(len(heard), len(meant))
    return heard[:length], meant[:length]


def pesq(heard: Samples, meant: Samples) -> float:
    """Return the wide-band PESQ (MOS-LQO, about 1.02 to 4.64) of speech against its recording.

    Source: ITU-T P.862 with P.862.2, by the package pesq; it aligns time once more and level, so that gain counts
    little. What is longer than 15 s is judged in equal parts, of which this is the mean; parts without speech are left
    out.

    Args:
        heard: float32 [S] at 16 kHz, lined up.
        meant: float32 [S] at 16 kHz.

    Raises:
        AudioError: kind "too_short" (a quarter of a second is needed) or "empty" (no speech is found).
        MissingDependencyError: the package is not installed.
    """
    package = load("pesq")
    parts = max(1, math.ceil(len(meant) / (PESQ_SECONDS * SAMPLE_RATE)))
    scores = []
    for spoken, recorded in zip(np.array_split(heard, parts), np.array_split(meant, parts), strict=True):
        try:
            scores.append(float(package.pesq(SAMPLE_RATE, recorded, spoken, "wb")))
        except package.BufferTooShortError as error:
            raise AudioError("PESQ needs a quarter of a second", kind="too_short") from error
        except package.NoUtterancesError:
            continue
    if not scores:
        raise AudioError("PESQ finds no speech", kind="empty")
    return sum(scores) / len(scores)


def stoi(heard: Samples, meant: Samples, *, extended: bool = False) -> float:
    """Return STOI, or ESTOI, of speech against its recording: how well it can be understood, up to 1.

    Source: Taal, Hendriks, Heusdens, Jensen, IEEE TASL 2011; extended: Jensen, Taal, IEEE/ACM TASLP 2016; by the
    package pystoi. Gain does not count.

    Args:
        heard: float32 [S] at 16 kHz, lined up.
        meant: float32 [S] at 16 kHz.
        extended: ESTOI, which also hears what STOI's bands hide: noise that comes and goes.

    Raises:
        AudioError: "too_short": under 0.4 s are not silent.
        MissingDependencyError: the package is not installed.
    """
    package = load("pystoi")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=_STOI_WARNING)
        try:
            value = float(package.stoi(meant.astype(np.float64), heard.astype(np.float64), SAMPLE_RATE, extended))
        except RuntimeWarning as error:
            raise AudioError("STOI needs 0.4 s of speech", kind="too_short") from error
    # ESTOI adds noise at the limit of precision, lest it divide by zero.
    return round(value, 9)


def load(package: str) -> Any:
    """Import "pesq" or "pystoi"; call it early to learn whether they are there.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = error.name or package
        raise MissingDependencyError(
            f"{package} needs the package {missing!r}, which is not installed: pip install '{mended_by(missing)}'"
        ) from error


def _samples(wav: Tensor, sample_rate: int) -> Samples:
    if wav.ndim != 1:
        raise ShapeError(f"audio is {list(wav.shape)}; one utterance [S] is compared at a time")
    samples: Samples = audio.resample(wav.detach().cpu().float(), sample_rate, SAMPLE_RATE).numpy()
    if not np.isfinite(samples).all():
        raise AudioError("an utterance to compare holds NaN or infinite samples", kind="nan")
    if np.abs(samples).max(initial=0.0) < 1e-4:
        raise AudioError("an utterance to compare is silent", kind="empty")
    if len(samples) > MOST_SECONDS * SAMPLE_RATE:
        raise AudioError(f"an utterance to compare is longer than {MOST_SECONDS:.0f} s", kind="too_long")
    return samples


def _shift(heard: Samples, meant: Samples) -> int:
    """By how many ms ``heard`` is late, by the correlation of the loudness per ms."""
    first, second = _loudness(heard), _loudness(meant)
    most = round(MOST_SHIFT * 1000)
    size = 1 << (len(first) + len(second)).bit_length()
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    together = np.fft.irfft(spectrum, size)
    lags = np.arange(-most, most + 1)
    return int(lags[np.argmax(together[lags])])


def _loudness(samples: Samples) -> NDArray[np.float64]:
    whole = samples[: len(samples) // _HOP * _HOP].astype(np.float64).reshape(-1, _HOP)
    loudness = np.sqrt(np.square(whole).mean(axis=1))
    return loudness - loudness.mean() if len(loudness) else np.zeros(1)

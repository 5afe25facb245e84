"""Frames of speech and of a recording of the same sentence -> how far their spectra lie apart, in dB."""

from __future__ import annotations

import math

import numpy as np

from slmtk.metrics.frames import Floats, Frames, Places

NAME = "mcd-24 dB"


def distortion(first: Floats, second: Floats) -> float:
    """Return the mel-cepstral distortion in dB of paired frames: mean of 10 / ln 10 * sqrt(2 * sum of squares).

    Source: Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE PACRIM 1993.

    Args:
        first: float64 [P, D + 1], mel-cepstra; column 0, the level, is left out.
        second: float64 [P, D + 1].
    """
    squares = np.square(first[:, 1:] - second[:, 1:]).sum(axis=1)
    return float(10 / math.log(10) * np.sqrt(2 * squares).mean())


def mel_cepstral_distortion(speech: Frames, recording: Frames, pairs: tuple[Places, Places]) -> float:
    """Return the distortion in dB, 0 or more, over all pairs of `slmtk.metrics.frames.align`; 24 coefficients."""
    return distortion(speech.cepstrum[pairs[0]], recording.cepstrum[pairs[1]])

"""Frames of speech and of a recording of the same sentence -> how far their melodies lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slmtk.errors import AudioError
from slmtk.metrics.frames import Floats, Frames, Places

# 50 ms: a melody needs more than a moment of voice.
_FEWEST = 10


@dataclass(frozen=True)
class PitchErrors:
    """Over frames paired in time. Source of RMSE, correlation and voicing error: Wu, Watts, King, "Merlin: An Open
    Source Neural Network Speech Synthesis System", SSW 2016; of cents: 1,200 to the octave.

    Attributes:
        rmse_hz: root of the mean squared difference, Hz, where both are voiced.
        rmse_cents: the same in cents, which weigh low and high voices alike.
        correlation: Pearson's, of pitch in Hz where both are voiced, -1 to 1; 0 if one of them does not move.
        voicing_error: share of all pairs of which one is voiced and the other is not, 0 to 1.
    """

    rmse_hz: float
    rmse_cents: float
    correlation: float
    voicing_error: float


def pitch_errors(speech: Frames, recording: Frames, pairs: tuple[Places, Places]) -> PitchErrors:
    """Compare the pitch of two utterances over the pairs of `slmtk.metrics.frames.align`.

    Raises:
        AudioError: fewer than 10 pairs are voiced on both sides ("unvoiced").
    """
    heard, meant = speech.pitch[pairs[0]], recording.pitch[pairs[1]]
    both = (heard > 0) & (meant > 0)
    if both.sum() < _FEWEST:
        raise AudioError(f"{int(both.sum())} frames are voiced in both; {_FEWEST} are needed", kind="unvoiced")
    return PitchErrors(
        rmse_hz=_rms(heard[both] - meant[both]),
        rmse_cents=_rms(1200 * np.log2(heard[both] / meant[both])),
        correlation=_correlation(heard[both], meant[both]),
        voicing_error=float(((heard > 0) != (meant > 0)).mean()),
    )


def _rms(differences: Floats) -> float:
    return float(np.sqrt(np.square(differences).mean()))


def _correlation(first: Floats, second: Floats) -> float:
    # Rounding leaves a little of a constant's variance.
    if min(first.std() / first.mean(), second.std() / second.mean()) < 1e-9:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])

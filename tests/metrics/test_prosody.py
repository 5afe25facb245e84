"""Pitch errors against numbers worked out by hand, and of melodies moved by a known interval."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.sung import RATE, melody, sing

from slmtk.errors import AudioError
from slmtk.metrics.frames import Frames, align, analyse
from slmtk.metrics.prosody import pitch_errors


def frames_of(*pitch: float) -> Frames:
    return Frames(np.array(pitch), np.zeros((len(pitch), 25)))


def straight(length: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(length), np.arange(length)


def test_errors_are_those_of_the_frames_that_are_voiced_in_both():
    meant = frames_of(*[100.0, 200.0] * 8, 0.0, 0.0, 100.0, 100.0)
    heard = frames_of(*[200.0, 100.0] * 8, 0.0, 150.0, 0.0, 0.0)
    errors = pitch_errors(heard, meant, straight(20))
    assert errors.rmse_hz == pytest.approx(100.0)
    assert errors.rmse_cents == pytest.approx(1200.0)
    assert errors.correlation == pytest.approx(-1.0)
    assert errors.voicing_error == pytest.approx(3 / 20)


def test_a_voice_that_does_not_move_goes_together_with_nothing():
    meant = frames_of(*np.linspace(100, 120, 12))
    errors = pitch_errors(frames_of(*[110.3] * 12), meant, straight(12))
    assert errors.correlation == 0.0
    assert errors.rmse_hz > 0


def test_pairs_say_which_frames_are_compared():
    meant, heard = frames_of(*np.linspace(100, 120, 12)), frames_of(*np.linspace(100, 120, 12)[::-1])
    assert pitch_errors(heard, meant, (np.arange(12)[::-1], np.arange(12))).rmse_hz == 0.0


def test_hardly_any_voice_is_refused():
    with pytest.raises(AudioError, match="9 frames are voiced in both") as caught:
        pitch_errors(frames_of(*[100.0] * 9, 0.0), frames_of(*[100.0] * 10), straight(10))
    assert caught.value.kind == "unvoiced"


@pytest.mark.parametrize("cents", [0.0, -200.0, 300.0])
def test_a_melody_moved_by_an_interval_is_wrong_by_it_and_still_goes_together(cents):
    pytest.importorskip("pyworld")
    pitch = melody()
    factor = 2 ** (cents / 1200)
    meant, heard = analyse(sing(pitch), RATE), analyse(sing(pitch * factor), RATE)
    # The vowel is the same, so frames are paired as they lie; harmonics sample its envelope elsewhere.
    errors = pitch_errors(heard, meant, align(heard, meant))
    assert errors.rmse_cents == pytest.approx(abs(cents), abs=40)
    assert errors.rmse_hz == pytest.approx(abs(factor - 1) * pitch.mean(), abs=6)
    assert errors.correlation > 0.95
    assert errors.voicing_error < 0.1

"""Mel-cepstral distortion against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.sung import RATE, melody, sing

from slmtk.metrics.cepstral import distortion, mel_cepstral_distortion
from slmtk.metrics.frames import Frames, align, analyse


def test_the_distortion_is_ten_over_ln_ten_times_the_root_of_twice_the_squares():
    first, second = np.zeros((2, 25)), np.zeros((2, 25))
    second[0, 1], second[1, [3, 4]] = 0.5, (0.3, 0.4)
    # 10 / 2.302585 * sqrt(2 * 0.25) for either frame
    assert distortion(first, second) == pytest.approx(3.0709, abs=1e-4)


def test_the_level_is_left_out():
    first, second = np.zeros((3, 25)), np.zeros((3, 25))
    second[:, 0] = 7.0
    assert distortion(first, second) == 0.0


def test_pairs_say_which_frames_are_compared():
    one = Frames(np.zeros(2), np.stack([np.zeros(25), np.full(25, 1.0)]))
    other = Frames(np.zeros(1), np.full((1, 25), 1.0))
    assert mel_cepstral_distortion(one, other, (np.array([1]), np.array([0]))) == 0.0
    expected = 4.3429448 * np.sqrt(2 * 24)
    assert mel_cepstral_distortion(one, other, (np.array([0]), np.array([0]))) == pytest.approx(expected)


def test_speech_has_no_distortion_against_itself_at_any_level_and_another_vowel_has():
    pytest.importorskip("pyworld")
    wav = sing(melody())
    meant = analyse(wav, RATE)
    found = [
        mel_cepstral_distortion(heard, meant, align(heard, meant))
        for heard in (analyse(w, RATE) for w in (wav, 0.1 * wav, sing(melody(), vowel=1.2)))
    ]
    assert found[0] == 0.0
    assert found[1] == pytest.approx(0.0, abs=1e-3)
    assert found[2] > 3

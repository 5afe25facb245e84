"""Pitch and mel-cepstrum of signals that are known, and frames paired in time."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from helpers.sung import RATE, melody, sing

from slmtk import audio
from slmtk.errors import AudioError, MissingDependencyError, ShapeError
from slmtk.metrics import frames
from slmtk.metrics.frames import ALPHA, Frames, align, analyse, mel_cepstrum

pytest.importorskip("pyworld")


def warped_spectrum(cepstrum: list[float], alpha: float) -> np.ndarray:
    """|H|^2 at 513 frequencies of the mel-cepstrum, straight from its definition."""
    w = np.linspace(0, np.pi, 513)
    warped = w + 2 * np.arctan(alpha * np.sin(w) / (1 - alpha * np.cos(w)))
    return np.exp(2 * sum(c * np.cos(place * warped) for place, c in enumerate(cepstrum)))


@pytest.mark.parametrize("alpha", [0.0, ALPHA])
def test_a_spectrum_of_known_mel_cepstrum_gives_it_back(alpha):
    known = [0.7, 0.5, -0.3, 0.0, 0.1]
    found = mel_cepstrum(warped_spectrum(known, alpha)[None], order=24, alpha=alpha)[0]
    np.testing.assert_allclose(found, known + [0.0] * 20, atol=1e-6)


def test_the_pitch_is_the_one_that_was_sung():
    pitch = melody()
    found = analyse(sing(pitch), RATE).pitch
    voiced = found[found > 0]
    assert len(voiced) > 0.9 * len(found)
    # The melody spans 649 cents; its first frame, half of it silence, may be anything.
    places = [2, 25, 50, 75, 98]
    cents = 1200 * np.log2(np.percentile(voiced, places) / np.percentile(pitch, places))
    np.testing.assert_allclose(cents, 0, atol=25)


def test_the_level_changes_the_zeroth_coefficient_alone():
    loud = sing(melody())
    one, other = analyse(loud, RATE), analyse(0.01 * loud, RATE)
    np.testing.assert_allclose(one.pitch, other.pitch, atol=1e-3)
    np.testing.assert_allclose(one.cepstrum[:, 1:], other.cepstrum[:, 1:], atol=1e-3)
    np.testing.assert_allclose(one.cepstrum[:, 0] - other.cepstrum[:, 0], np.log(100), atol=1e-3)


def test_silence_before_and_behind_leaves_no_frames():
    wav = sing(melody())
    padded = torch.cat([torch.zeros(RATE), wav, torch.zeros(RATE)])
    assert abs(len(analyse(padded, RATE).pitch) - len(analyse(wav, RATE).pitch)) < 10


def test_another_rate_is_brought_to_16_khz():
    wav = sing(melody())
    pitch, other = analyse(wav, RATE).pitch, analyse(audio.resample(wav, RATE, 48_000), 48_000).pitch
    assert abs(len(pitch) - len(other)) <= 2
    assert np.median(other[other > 0]) == pytest.approx(np.median(pitch[pitch > 0]), rel=1e-3)


def test_frames_that_last_longer_are_paired_with_their_like():
    spectra = np.random.default_rng(0).normal(size=(6, 25))
    first = Frames(np.zeros(6), spectra)
    repeats = [0, 1, 1, 1, 2, 3, 4, 4, 5]
    places = align(first, Frames(np.zeros(9), spectra[repeats]))
    assert [(int(a), int(b)) for a, b in zip(*places, strict=True)] == list(zip(repeats, range(9), strict=True))


def test_the_level_does_not_steer_the_pairing():
    spectra = np.random.default_rng(0).normal(size=(5, 25))
    louder = spectra.copy()
    # By level alone every frame would go with the one before it.
    spectra[:, 0], louder[:, 0] = [0, 100, 200, 300, 400], [100, 200, 300, 400, 400]
    first, second = align(Frames(np.zeros(5), spectra), Frames(np.zeros(5), louder))
    assert first.tolist() == second.tolist() == [0, 1, 2, 3, 4]


def test_what_cannot_be_analysed_says_why():
    with pytest.raises(ShapeError, match=r"\[1, 16000\]"):
        analyse(torch.ones(1, RATE), RATE)
    for wav, kind in ((torch.zeros(RATE), "empty"), (torch.zeros(0), "empty"), (torch.full((9,), torch.nan), "nan")):
        with pytest.raises(AudioError) as caught:
            analyse(wav, RATE)
        assert caught.value.kind == kind
    long = Frames(np.zeros(6001), np.zeros((6001, 25)))
    with pytest.raises(AudioError, match="30 s and 30 s") as caught:
        align(long, long)
    assert caught.value.kind == "too_long"


def test_a_missing_package_names_the_extra(monkeypatch):
    frames.pyworld.cache_clear()
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'slmtk\[embedded\]'"):
        analyse(torch.ones(RATE), RATE)

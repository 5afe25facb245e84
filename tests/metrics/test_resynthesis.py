"""PESQ and STOI: what they must not hear (level, delay), what they must, and what they cannot judge."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from helpers.sung import RATE, melody, sing

from slmtk.errors import AudioError, MissingDependencyError, ShapeError
from slmtk.metrics import resynthesis
from slmtk.metrics.resynthesis import line_up, pesq, stoi

VOICE = sing(melody(2.0))


@pytest.fixture
def packages():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")


def noisy(wav: torch.Tensor, level: float) -> torch.Tensor:
    return wav + level * torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))


def test_a_recording_against_itself_has_the_best_scores_at_any_level(packages):
    for gain in (1.0, 0.2):
        heard, meant = line_up(gain * VOICE, VOICE, RATE)
        # The top of P.862.2: 0.999 + 4 / (1 + exp(-1.3669 * 4.5 + 3.8224))
        assert pesq(heard, meant) == pytest.approx(4.6439, abs=2e-3)
        assert stoi(heard, meant) == pytest.approx(1.0, abs=1e-6)
        assert stoi(heard, meant, extended=True) == pytest.approx(1.0, abs=1e-6)


def test_more_noise_scores_lower(packages):
    scores = []
    for level in (0.01, 0.1):
        heard, meant = line_up(noisy(VOICE, level), VOICE, RATE)
        scores.append((pesq(heard, meant), stoi(heard, meant), stoi(heard, meant, extended=True)))
    assert all(worse < better for better, worse in zip(*scores, strict=True))
    assert stoi(heard, meant, extended=True) == scores[1][2]  # the same every time


@pytest.mark.parametrize("late", [480, -800, 0])
def test_speech_that_is_late_or_early_is_lined_up(late):
    pause = torch.zeros(abs(late))
    shifted = torch.cat([pause, VOICE[: len(VOICE) - late]]) if late > 0 else torch.cat([VOICE[-late:], pause])
    heard, meant = line_up(0.5 * shifted, VOICE, RATE)
    assert len(heard) == len(meant) == len(VOICE) - abs(late)
    inner = slice(0, len(heard) - max(0, -late))
    np.testing.assert_allclose(heard[inner], 0.5 * meant[inner], atol=1e-6)


def test_a_tail_of_a_frame_is_cut():
    heard, meant = line_up(torch.cat([VOICE, torch.zeros(300)]), VOICE, RATE)
    assert len(heard) == len(meant) == len(VOICE)


def test_what_cannot_be_a_resynthesis_says_why():
    cases = [
        (VOICE[: -RATE // 5], "other_length"),
        (torch.zeros(len(VOICE)), "empty"),
        (torch.full((len(VOICE),), torch.nan), "nan"),
        (VOICE.repeat(31), "too_long"),
    ]
    for wav, kind in cases:
        with pytest.raises(AudioError) as caught:
            line_up(wav, VOICE, RATE)
        assert caught.value.kind == kind
    with pytest.raises(ShapeError, match=r"\[1, "):
        line_up(VOICE[None], VOICE, RATE)


def test_many_short_words_with_pauses_are_judged_in_parts(packages):
    # In one piece, the reference code of PESQ would crash at more than 50 of them.
    word = torch.cat([VOICE[: int(0.3 * RATE)], torch.zeros(int(0.25 * RATE))])
    heard, meant = line_up(noisy(word.repeat(107), 0.01), word.repeat(107), RATE)
    quarter = len(heard) // 4
    expected = [
        pesq(heard[place : place + quarter], meant[place : place + quarter]) for place in range(0, 4 * quarter, quarter)
    ]
    assert pesq(heard, meant) == pytest.approx(sum(expected) / 4, abs=1e-3)


def test_less_than_a_syllable_is_too_short(packages):
    with pytest.raises(AudioError, match="STOI") as caught:
        stoi(VOICE[:4000].numpy(), VOICE[:4000].numpy())
    assert caught.value.kind == "too_short"
    with pytest.raises(AudioError, match="PESQ") as caught:
        pesq(VOICE[:3000].numpy(), VOICE[:3000].numpy())
    assert caught.value.kind == "too_short"


@pytest.mark.parametrize(("package", "judge"), [("pesq", pesq), ("pystoi", stoi)])
def test_a_missing_package_is_named(monkeypatch, package, judge):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"{package}.*pip install"):
        judge(VOICE.numpy(), VOICE.numpy())
    with pytest.raises(MissingDependencyError):
        resynthesis.load(package)

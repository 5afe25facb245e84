"""DNSMOS: noise lowers it, other rates do not change it, and it says what is missing."""

from __future__ import annotations

import sys

import pytest
import torch

from slmtk import audio
from slmtk.errors import AudioError, MissingDependencyError, ShapeError
from slmtk.metrics import naturalness
from slmtk.metrics.naturalness import dnsmos


@pytest.fixture
def networks():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("speechmos")


@pytest.mark.data
def test_clean_speech_scores_above_the_same_speech_in_noise(networks, shared_data):
    path = sorted((shared_data / "read_speech" / "367").rglob("*.flac"))[0]
    wav, rate = audio.read(path)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(wav.shape, generator=generator) * wav.square().mean().sqrt()
    loud = wav + noise
    clean, noisy = dnsmos(wav, rate), dnsmos(loud / loud.abs().max(), rate)
    assert clean.overall > noisy.overall + 1
    assert clean.background > noisy.background + 1
    assert 1 <= noisy.overall < 2 < clean.overall <= 5


@pytest.mark.data
def test_the_rate_is_brought_to_16_khz(networks, shared_data):
    path = sorted((shared_data / "read_speech" / "367").rglob("*.flac"))[0]
    wav, rate = audio.read(path)
    assert rate == 16_000
    assert dnsmos(audio.resample(wav, rate, 48_000), 48_000).overall == pytest.approx(
        dnsmos(wav, rate).overall, abs=0.1
    )


def test_what_cannot_be_judged_is_told(networks):
    with pytest.raises(AudioError, match="no samples"):
        dnsmos(torch.zeros(0), 16_000)
    with pytest.raises(AudioError, match="NaN"):
        dnsmos(torch.full((16_000,), float("nan")), 16_000)
    with pytest.raises(ShapeError, match=r"\[1, 16000\]"):
        dnsmos(torch.zeros(1, 16_000), 16_000)


@pytest.mark.parametrize("package", ["onnxruntime", "speechmos"])
def test_a_missing_package_names_the_extra(monkeypatch, package):
    naturalness.load.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "speechmos.dnsmos", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'slmtk\[quality\]'"):
        naturalness.load()

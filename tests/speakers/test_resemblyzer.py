"""The embedded speaker encoder on real voices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from slmtk.errors import AudioError, ConfigError
from slmtk.metrics.similarity import cosine
from slmtk.speakers.base import load_speaker_encoder


@pytest.fixture(scope="module")
def encoder():
    return load_speaker_encoder("resemblyzer")


def read(path: Path) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(path, dtype="float32")[0])


def test_two_clips_of_one_speaker_are_nearer_than_clips_of_two(encoder, shared_data):
    by_speaker = {}
    for path in sorted((shared_data / "read_speech").rglob("p22[56]*.flac")):
        by_speaker.setdefault(path.name.split("-")[0], []).append(path)
    (first, again, *_), (other, *_) = by_speaker["p225"], by_speaker["p226"]
    vectors = [encoder.embed(read(path)) for path in (first, again, other)]
    assert all(vector.shape == (256,) and vector.norm().item() == pytest.approx(1) for vector in vectors)
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.1


def test_speech_below_its_level_is_raised_to_it(encoder, shared_data):
    wav = read(min((shared_data / "read_speech").rglob("p225*.flac")))
    low = wav * 0.02 / wav.square().mean().sqrt()  # -34 dB of full scale; Resemblyzer raises to -30
    assert cosine(encoder.embed(low), encoder.embed(low * 0.05)) > 0.98


@pytest.mark.parametrize(
    ("wav", "kind"),
    [
        (torch.zeros(0), "empty"),
        (torch.zeros(32_000), "empty"),
        (torch.ones(1600) * 0.1, "too_short"),
        (torch.tensor([0.1, float("nan")]), "nan"),
    ],
)
def test_audio_without_a_voice_is_refused_with_its_kind(encoder, wav, kind):
    with pytest.raises(AudioError) as caught:
        encoder.embed(wav)
    assert caught.value.kind == kind


def test_a_click_in_silence_is_too_short(encoder):
    wav = torch.zeros(32_000)
    wav[16_000:16_010] = 0.5
    with pytest.raises(AudioError, match=r"less than 0\.2 s of speech"):
        encoder.embed(wav)


def test_threads_are_left_as_they_were(encoder, shared_data):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    encoder.embed(read(min((shared_data / "read_speech").rglob("p225*.flac"))))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_loading_writes_nothing_to_the_terminal():
    code = "from slmtk.speakers.base import load_speaker_encoder as l; l('resemblyzer')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_model_name_is_refused():
    with pytest.raises(ConfigError):
        load_speaker_encoder("resemblyzer", model="other")

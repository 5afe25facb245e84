"""Sound files of every kind become the samples that were put in, or say why not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from slmtk import audio
from slmtk.errors import AudioError

RATE = 16_000


def sine(seconds: float = 0.5, hertz: float = 440.0, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "DOUBLE", 0),
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_kind_of_file_gives_the_samples_that_were_put_in(tmp_path, name, subtype, tolerance):
    samples = sine()
    soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    wav, rate = audio.read(tmp_path / name)
    assert (rate, wav.dtype, wav.shape) == (RATE, torch.float32, (8000,))
    middle = slice(1000, -1000)  # lossy coders fade in and out
    np.testing.assert_allclose(wav[middle], samples[middle], rtol=0, atol=tolerance)


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.tile([[0.5, 0.25, -0.15]], (100, 1)), RATE, subtype="FLOAT")
    torch.testing.assert_close(audio.read(tmp_path / "a.wav")[0], torch.full((100,), 0.2))


@pytest.mark.parametrize("rate", [8_000, 11_025, 11_127, 22_050, 44_100, 44_101, 48_000, 96_000])
def test_a_tone_of_any_rate_is_the_same_tone_at_16_khz(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", sine(rate=rate), rate, subtype="FLOAT")
    wav, found = audio.read(tmp_path / "a.wav", RATE)
    assert (found, len(wav)) == (RATE, -(-round(0.5 * rate) * RATE // rate))
    middle = slice(1000, 7000)
    np.testing.assert_allclose(wav[middle], sine()[middle], atol=0.02)


def test_samples_above_full_scale_are_scaled_not_cut(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, -4.0, 2.0]), RATE, subtype="FLOAT")
    torch.testing.assert_close(audio.read(tmp_path / "a.wav")[0], torch.tensor([0.125, -1.0, 0.5]))


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(tmp_path, hole):
    soundfile.write(tmp_path / "a.wav", np.array([0.1, hole, 0.2]), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite") as caught:
        audio.read(tmp_path / "a.wav")
    assert caught.value.kind == "nan"


@pytest.mark.parametrize(
    ("name", "kept", "kind"),
    [
        ("a.wav", 0.5, "truncated"),
        ("a.flac", 0.5, "truncated"),
        ("a.mp3", 0.5, "truncated"),
        ("a.ogg", 0.5, "unreadable"),
        ("a.wav", 0.0, "empty"),
        ("a.flac", 0.0, "empty"),
    ],
)
def test_half_a_file_is_refused(tmp_path, name, kept, kind):
    soundfile.write(tmp_path / "whole.wav", sine(2.0), RATE)
    soundfile.write(tmp_path / name, sine(2.0), RATE)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(AudioError) as caught:
        audio.read(tmp_path / name)
    assert caught.value.kind == kind


def test_a_wav_whose_writer_could_not_seek_back_is_whole(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(), RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # the lengths that ffmpeg leaves when it writes into a pipe
    (tmp_path / "a.wav").write_bytes(data)
    assert len(audio.read(tmp_path / "a.wav")[0]) == 8000


def test_a_header_without_samples_is_empty_and_text_is_unreadable(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    (tmp_path / "b.wav").write_text("no sound")
    for name, kind in [("a.wav", "empty"), ("b.wav", "unreadable"), ("c.wav", "missing")]:
        with pytest.raises(AudioError) as caught:
            audio.read(tmp_path / name)
        assert caught.value.kind == kind


def test_audio_in_memory_is_read_like_a_file(tmp_path):
    soundfile.write(tmp_path / "a.flac", sine(), RATE)
    stream = io.BytesIO((tmp_path / "a.flac").read_bytes())
    assert torch.equal(audio.read_stream(stream)[0], audio.read(tmp_path / "a.flac")[0])


@pytest.mark.parametrize("name", ["a.wav", "deep/er/a.flac"])
def test_what_is_written_is_read_back_and_clipped(tmp_path, name):
    audio.write(tmp_path / name, torch.tensor([0.0, 0.25, -0.5, 3.0, -3.0]), 22_050)
    wav, rate = audio.read(tmp_path / name)
    assert rate == 22_050
    torch.testing.assert_close(wav, torch.tensor([0.0, 0.25, -0.5, 1.0, -1.0]), rtol=0, atol=2**-15)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [Path(name).name]


def test_padding_makes_whole_frames_and_at_least_one():
    assert [audio.pad_to_frames(torch.ones(2, n), 200).shape[1] for n in (0, 1, 199, 200, 201)] == [
        200,
        200,
        200,
        200,
        400,
    ]
    assert audio.pad_to_frames(torch.ones(3), 4).tolist() == [1, 1, 1, 0]


def test_the_header_alone_tells_the_duration(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((4_410, 2)), 44_100)
    found = audio.info(tmp_path / "a.wav")
    assert (found.sample_rate, found.num_samples, found.channels, found.seconds) == (44_100, 4_410, 2, 0.1)

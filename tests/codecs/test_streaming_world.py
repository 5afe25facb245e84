"""The embedded codec in stretches is the embedded codec in one go, sample for sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slmtk import audio
from slmtk.codecs.base import load_codec
from slmtk.codecs.streaming import Pace, StreamDecoder, stream_decode
from slmtk.codecs.world import streaming
from slmtk.codecs.world.synthesis import refine_pitch


@pytest.fixture(scope="module")
def codec():
    return load_codec("world")


def difference_db(codec, codes, speaker, piece=4, pace=None) -> float:
    """Level of the stream's difference relative to the whole."""
    whole = codec.decode(codes[None], speaker[None])[0].numpy()
    wav = np.concatenate(list(stream_decode(codec, codes.split(piece, dim=1), speaker, pace)))
    assert wav.shape == whole.shape
    return 10 * float(np.log10(((wav - whole) ** 2).mean() / (whole**2).mean() + 1e-20))


def spoken(frames: int, seed: int = 0, voiced: float = 0.6) -> torch.Tensor:
    """Codes int64 [3, T] of a voice that moves, rests and hisses in turn."""
    random = np.random.default_rng(seed)
    content = random.integers(0, 1024, (2, frames))
    pitch, level = np.zeros(frames, dtype=np.int64), np.full(frames, 20)
    at = 0
    while at < frames:
        length = int(random.integers(5, 40))
        if random.random() < voiced:
            pitch[at : at + length] = np.clip(
                16 + np.cumsum(random.integers(-1, 2, len(pitch[at : at + length]))), 1, 31
            )
        level[at : at + length] = random.integers(8, 28)
        at += length
    return torch.from_numpy(np.stack([*content, pitch * 32 + level]))


@pytest.mark.parametrize("piece", [1, 7, 500])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_moving_voice_is_the_same_in_stretches(codec, seed, piece):
    speaker = torch.zeros(codec.spec.speaker_dim)
    assert difference_db(codec, spoken(500, seed), speaker, piece) < -120


def test_silence_and_noise_before_the_first_voice_are_the_same(codec):
    """Pulses of unvoiced sounds then fall on whole samples, where rounding decides."""
    codes = spoken(400, 3)
    codes[2, :250] %= 32
    assert difference_db(codec, codes, torch.zeros(codec.spec.speaker_dim)) < -120
    codes[2] %= 32
    assert difference_db(codec, codes, torch.zeros(codec.spec.speaker_dim)) < -120


@pytest.mark.parametrize("frames", [2, 3, 9, 17])
def test_the_shortest_speech(codec, frames):
    codes = spoken(frames, 5, voiced=1.0)
    assert difference_db(codec, codes, torch.zeros(codec.spec.speaker_dim), piece=1) < -120


def test_recorded_voices_are_the_same(codec, shared_data):
    files = sorted((shared_data / "read_speech").rglob("*.flac"))
    for file in files[:: len(files) // 4]:
        wav, _ = audio.read(file, codec.spec.sample_rate)
        encoded = codec.encode(audio.pad_to_frames(wav[:128_000], 200)[None])
        assert difference_db(codec, encoded.codes[0], encoded.speaker[0]) < -120


def test_after_a_minute_a_rest_begins_another_block(codec, monkeypatch):
    """Blocks of two seconds here: the audio is the same up to the first and has no step behind it."""
    monkeypatch.setattr(streaming, "_BLOCK_FRAMES", 160)
    codes, speaker = spoken(480, 7), torch.zeros(codec.spec.speaker_dim)
    whole = codec.decode(codes[None], speaker[None])[0].numpy()
    decoder = StreamDecoder(codec, speaker, Pace())
    wav = np.concatenate([decoder.push(codes), decoder.finish()])
    rest = next(frame for frame in range(160, 480) if int(codes[2, frame]) < 32)
    assert len(wav) == len(whole)
    np.testing.assert_allclose(wav[: rest * 200 - 600], whole[: rest * 200 - 600], atol=1e-5)
    after = slice(rest * 200, None)
    assert wav[after].std() == pytest.approx(whole[after].std(), rel=0.05)
    assert not np.allclose(wav[after], whole[after], atol=1e-2)


def test_the_pitch_of_a_step_does_not_depend_on_what_is_said_after_a_rest():
    before = np.array([0.0, 100.0, 120.0, 0.0, 0.0, 0.0])
    steps = refine_pitch(np.append(before, 200.0))[:25]
    np.testing.assert_array_equal(refine_pitch(before)[:25], steps)
    assert steps[2] == 0.0  # voicing begins half-way
    assert steps[3] == pytest.approx(100.0)
    np.testing.assert_allclose(steps[10:13], 120.0)  # and the pitch is held to where it ends
    assert not steps[13:].any()

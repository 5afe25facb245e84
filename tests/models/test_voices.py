"""A voice of several recordings, or of a speaker's codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk import audio
from slmtk.errors import AudioError, CodecMismatchError, ConfigError, FormatError
from slmtk.models.voices import Clip, codes_speaker, make_voice
from slmtk.shards import CodesRow, part_name, write_index, write_shard
from tests.helpers.tone import ToneCodec, VoicedToneCodec
from tests.models.test_speaker import RateEncoder, synthesizer


def tone(path: Path, seconds: float, level: float, pitch: int = 500) -> None:
    wave = level * torch.sin(torch.arange(int(seconds * 16_000)) * (2 * torch.pi * pitch / 16_000))
    audio.write(path, wave, 16_000)


def write_codes(folder: Path, codec: type[ToneCodec] = VoicedToneCodec) -> Path:
    """Speaker "a" with 1 s at 0.2 and 4 s at 0.7, "b" with another; the pitch code is the row's number."""
    rows = []
    for number, (speaker, seconds, level) in enumerate([("a", 1.0, 0.2), ("b", 2.0, 0.9), ("a", 4.0, 0.7)]):
        codes = np.full((2, round(seconds * 50)), number, np.int32)
        vector = np.array([level], np.float32) if codec.spec.speaker_dim else None
        rows.append(CodesRow(f"u{number}", codes, seconds, "hi", speaker, speaker_vector=vector))
    info = write_shard(folder / part_name(0), codec.spec, rows)
    write_index(folder, codec.spec, {}, "codes", [info], 0)
    return folder


def test_a_folder_of_recordings_is_averaged_over_its_duration(tmp_path):
    tone(tmp_path / "anna" / "1.wav", 1.0, 0.2)
    tone(tmp_path / "anna" / "deeper" / "2.flac", 3.0, 0.6)
    (tmp_path / "anna" / "notes.txt").write_text("no sound")
    voice = synthesizer(VoicedToneCodec(), speaker_dim=1, speaker_encoder="codec").voice(tmp_path / "anna")
    assert voice.id == "anna"
    assert voice.speaker is not None
    assert voice.speaker.item() == pytest.approx((1 * 0.2 + 3 * 0.6) / 4, abs=1e-3)


def test_one_recording_in_a_folder_is_the_voice_of_the_recording(tmp_path):
    tone(tmp_path / "anna" / "1.wav", 1.0, 0.3)
    made = synthesizer(VoicedToneCodec(), RateEncoder(), speaker_dim=2, speaker_encoder="rate")
    folder, alone = made.voice(tmp_path / "anna"), made.voice(tmp_path / "anna" / "1.wav")
    assert torch.equal(folder.speaker, alone.speaker)
    assert torch.equal(folder.embedding, alone.embedding)
    assert (folder.id, alone.id) == ("anna", "1")


def test_an_encoders_mean_is_as_long_as_the_clips_vectors():
    def clip(seconds: float, *vector: float) -> Clip:
        return Clip(seconds, None, None, torch.tensor(vector), lambda: torch.zeros(2, 1, dtype=torch.int64))

    voice = make_voice("x", [clip(1.0, 1.0, 0.0), clip(1.0, 0.0, 1.0)], with_codes=False, codec=ToneCodec())
    assert voice.embedding is not None
    assert voice.embedding.tolist() == pytest.approx([0.5**0.5, 0.5**0.5])


def test_the_prompts_codes_are_those_of_the_clip_nearest_to_the_mean_that_fills_it():
    def clip(code: int, seconds: float, *vector: float) -> Clip:
        frames = round(seconds * 50)
        return Clip(seconds, Path(f"{code}.wav"), torch.tensor(vector), None, lambda: torch.full((2, frames), code))

    clips = [clip(1, 2.9, 0.5, 0.5), clip(2, 3.0, 1.0, 0.0), clip(3, 9.0, 0.6, 0.8), clip(4, 9.0, 0.0, 1.0)]
    voice = make_voice("x", clips, with_codes=True, codec=ToneCodec())
    assert voice.codes is not None
    assert (voice.codes[0, 0].item(), voice.codes.shape) == (3, (2, 150))
    assert voice.path == Path("3.wav")
    short = make_voice("x", [clip(5, 1.0, 1.0, 0.0), clip(6, 2.0, 0.0, 1.0)], with_codes=True, codec=ToneCodec())
    assert short.codes is not None
    assert short.codes[0, 0].item() == 6


def test_a_speaker_of_a_folder_of_codes_is_averaged_too(tmp_path):
    made = synthesizer(VoicedToneCodec(), reference_prompt=True)
    voice = made.voice(Path(f"{write_codes(tmp_path / 'codes')}:a"))
    assert voice.speaker is not None
    assert voice.codes is not None
    assert voice.speaker.item() == pytest.approx((1 * 0.2 + 4 * 0.7) / 5)
    assert (voice.id, voice.path, voice.codes[0, 0].item(), voice.codes.shape[1]) == ("a", None, 2, 150)


def test_another_encoder_hears_the_codes_decoded(tmp_path):
    made = synthesizer(VoicedToneCodec(), RateEncoder(), speaker_dim=2, speaker_encoder="rate")
    embedding = made.voice(Path(f"{write_codes(tmp_path / 'codes')}:b")).embedding
    assert embedding is not None
    assert embedding.tolist() == [2 * 8_000.0, 8_000.0]


def test_what_is_no_voice_is_told_in_one_line(tmp_path):
    made = synthesizer(VoicedToneCodec())
    codes = write_codes(tmp_path / "codes")
    (tmp_path / "empty").mkdir()
    for place, error, message in [
        (tmp_path / "gone.wav", AudioError, "is not there; expected a recording, a folder of recordings, or CODES"),
        (tmp_path / "empty", AudioError, "holds no recordings"),
        (codes, FormatError, r"name one of its speakers: .*codes:a, b"),
        (Path(f"{codes}:c"), ConfigError, "has no speaker 'c'; it has a, b"),
    ]:
        with pytest.raises(error, match=message):
            made.voice(place)
    with pytest.raises(CodecMismatchError, match="codes of another codec than the model's"):
        made.voice(Path(f"{write_codes(tmp_path / 'other', ToneCodec)}:a"))


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path):
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes:a").touch()
    assert codes_speaker(tmp_path / "codes:a") is None
    assert codes_speaker(tmp_path / "codes:b") == (tmp_path / "codes", "b")
    assert codes_speaker(tmp_path / "gone:b") is None

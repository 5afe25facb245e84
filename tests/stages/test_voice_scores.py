"""Whose voice is heard: which recordings are compared, under which names, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tone import VoicedToneCodec
from torch import Tensor

from slmtk import audio
from slmtk.errors import AudioError
from slmtk.speakers.base import SpeakerEncoder, check_samples
from slmtk.stages import through_codec
from slmtk.stages.scoring import Pair
from slmtk.stages.speech_sources import Spoken
from slmtk.stages.through_codec import ThroughCodec
from slmtk.stages.voice_scores import VoiceScores

RATE = 16_000
TONE = "helpers.tone:VoicedToneCodec"


class Compass(SpeakerEncoder):
    """Takes the first and the last sample for the voice."""

    name = "compass"
    dim = 2
    embedded = 0

    @classmethod
    def create(cls, *, model: str | None = None, device: str = "cpu") -> Compass:
        return cls()

    def embed(self, wav: Tensor) -> Tensor:
        check_samples(wav, self.sample_rate, 0.1)
        self.embedded += 1
        ends = wav[[0, -1]]
        return ends / ends.norm()


def voice(first: float, last: float) -> Tensor:
    wav = torch.full((3200,), 0.01)
    wav[0], wav[-1] = first, last
    return wav


def spoken(wav: Tensor | None = None, reference: Path | None = None) -> Spoken:
    return Spoken("a", "hello", None, None if wav is None else lambda rate: wav, reference=reference)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    audio.write(tmp_path / "clip.wav", voice(0.5, 0.0), RATE)
    return tmp_path / "clip.wav"


def scores(encoder: Compass, *measures: tuple[str, ThroughCodec | None], originals: bool = True) -> VoiceScores:
    return VoiceScores("compass", "cpu", originals=originals, measures=measures, load=lambda: encoder)


def test_speech_is_compared_with_the_clip_and_with_the_recording_of_the_sentence(clip: Path):
    pair = Pair(spoken(voice(0.3, 0.4)), spoken(reference=clip), "")
    found = scores(Compass(), ("sim-o", None)).compare(pair, voice(0.4, 0.3), RATE)
    assert found == {
        "sim-o compass to reference": pytest.approx(0.8, abs=1e-3),
        "sim-o compass to original": pytest.approx(0.96, abs=1e-3),
    }
    alone = scores(Compass(), ("sim-o", None), originals=False).compare(pair, voice(0.4, 0.3), RATE)
    assert list(alone) == ["sim-o compass to reference"]


def test_sim_r_compares_with_what_the_codec_gives_back(clip: Path):
    # Every frame of a tone codec begins at 0 and ends just before its last zero; what counts is that both sides do.
    through = ThroughCodec(TONE)
    back = through(voice(0.5, 0.0), RATE)
    pair = Pair(spoken(), spoken(reference=clip), "")
    found = scores(Compass(), ("sim-o", None), ("sim-r", through)).compare(pair, back, RATE)
    assert found["sim-r compass to reference through voiced-tone"] == pytest.approx(1.0, abs=1e-3)
    assert found["sim-o compass to reference"] < 0.5


def test_a_clip_is_read_once_for_every_measure(clip: Path):
    encoder = Compass()
    judge = scores(encoder, ("sim-o", None), ("sim-r", ThroughCodec(TONE)))
    for _ in range(3):
        judge.compare(Pair(spoken(), spoken(reference=clip), ""), voice(0.4, 0.3), RATE)
    assert encoder.embedded == 3 + 2


def test_what_has_no_voice_is_left_out_and_counted(clip: Path):
    def unreadable(rate: int) -> Tensor:
        raise AudioError("broken")

    judge = scores(Compass(), ("sim-o", None))
    assert judge.compare(Pair(spoken(), spoken(), ""), voice(0.4, 0.3), RATE) == {}
    assert judge.compare(Pair(spoken(), spoken(reference=clip), ""), torch.zeros(3200), RATE) == {}
    broken = Spoken("a", "hello", None, unreadable)
    assert list(judge.compare(Pair(broken, spoken(reference=clip), ""), voice(0.4, 0.3), RATE)) == [
        "sim-o compass to reference"
    ]
    assert judge.left_out == {"sim-o: no recording to compare with": 1, "sim-o: no voice to judge": 2}


def test_silence_does_not_go_through_the_codec(clip: Path, monkeypatch):
    monkeypatch.setattr(VoicedToneCodec, "encode", lambda *_: pytest.fail("a codec was given silence"))
    judge = scores(Compass(), ("sim-r", ThroughCodec(TONE)))
    assert judge.compare(Pair(spoken(torch.zeros(3200)), spoken(), ""), voice(0.4, 0.3), RATE) == {}


def test_a_recording_comes_back_as_long_as_it_was_and_at_its_rate(monkeypatch):
    rates = []
    real = audio.resample
    monkeypatch.setattr(through_codec.audio, "resample", lambda w, s, t: rates.append((s, t)) or real(w, s, t))
    wav = 0.5 * torch.sin(torch.arange(24_000 // 2 + 7) * (2 * torch.pi * 500 / 24_000))
    back = ThroughCodec("helpers.tone:ToneCodec")(wav, 24_000)
    assert (back.shape, rates) == (wav.shape, [(24_000, 16_000), (16_000, 24_000)])
    # 500 Hz is one of the codec's tones, ten whole periods a frame, and its levels lie 3 dB apart.
    middle = slice(2000, 8000)
    torch.testing.assert_close(back[middle], wav[middle], atol=0.01, rtol=0)

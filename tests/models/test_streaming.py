"""Speech that is heard while it is generated is the speech that would have been written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk.codecs.streaming import Pace
from slmtk.errors import ConfigError
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer, Voice
from slmtk.models.streaming import stream_audio
from slmtk.progress import SilentProgress
from slmtk.stages.train import train
from tests.helpers.tiny_run import TINY, make_dataset, use_voiced_tone

SAMPLING = Sampling(temperature=1.0, max_seconds=2.0, min_seconds=1.5, loop_seconds=0.0)
VOICE = Voice("somebody", None, torch.tensor([0.5]))


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        use_voiced_tone(patch)
        train(make_dataset(folder), folder / "model", replace(TINY, num_targets=0), SilentProgress())
        yield Synthesizer.load(folder / "model")


PAGE = Path(__file__).resolve().parents[2] / "docs" / "streaming.md"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_stream_is_what_is_spoken(synthesizer, seed):
    sampling = replace(SAMPLING, seed=seed)
    (speech,) = synthesizer.speak(["high"], [VOICE], sampling)
    stream = stream_audio(synthesizer, "high", VOICE, sampling, Pace(most_seconds=0.3))
    pieces = list(stream)
    assert len(pieces) > 3
    assert all(len(piece) for piece in pieces)
    wav = np.concatenate(pieces)
    assert stream.samples == len(wav) >= 1.5 * 16_000
    np.testing.assert_allclose(wav, speech.wav.numpy(), atol=1e-6)
    assert np.array_equal(stream.result.codes.numpy(), speech.codes)
    assert stream.result.reason == speech.reason


def test_the_first_audio_is_there_long_before_the_last(synthesizer):
    stream = stream_audio(synthesizer, "high", VOICE, SAMPLING)
    assert stream.first_audio_seconds is None
    first = next(stream)
    assert len(first) == round(0.1 * 50) * 320 or len(first) == 6 * 320  # two frames a step
    assert stream.result is None
    early = stream.first_audio_seconds
    assert early == stream.seconds
    for _ in stream:
        pass
    assert stream.first_audio_seconds == early < stream.seconds / 2


def test_a_listener_who_goes_stops_the_model(synthesizer):
    with stream_audio(synthesizer, "high", VOICE, SAMPLING) as stream:
        next(stream)
    assert list(stream) == []
    assert stream.result is None
    assert list(stream_audio(synthesizer, "high", VOICE, SAMPLING))  # and the next one is served


def test_a_voice_that_is_missing_is_asked_for_at_once(synthesizer):
    with pytest.raises(ConfigError, match="--speaker"):
        stream_audio(synthesizer, "high", Voice("none", None, None), SAMPLING)


def test_the_pages_server_and_decoder_work(synthesizer, tmp_path, monkeypatch, capsys):
    server, decoder = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.setattr(Synthesizer, "load", lambda path: synthesizer)
    monkeypatch.setattr(Synthesizer, "voice", lambda self, path: VOICE)
    monkeypatch.setattr("slmtk.models.sampling.Sampling", lambda seed: replace(SAMPLING, seed=seed))
    names: dict = {}
    exec(compile(server, "streaming.md", "exec"), names)
    sent: list[bytes] = []
    reason = names["respond"]("high", sent.append)
    (speech,) = synthesizer.speak(["high"], [VOICE], replace(SAMPLING, seed=1))
    assert reason == speech.reason
    samples = np.frombuffer(b"".join(sent), np.int16)
    np.testing.assert_allclose(samples, speech.wav.numpy() * 32767, atol=0.51)
    assert f"{len(samples)} samples in" in capsys.readouterr().out
    exec(compile(decoder, "streaming.md", "exec"), names)
    assert names["decoder"].finish().size == 0
    assert names["last"].size > 0

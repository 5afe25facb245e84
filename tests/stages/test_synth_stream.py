"""Audio written while it is generated: files that are whole after every stretch, pipes that may close."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from slmtk import audio
from slmtk.errors import ConfigError, FormatError
from slmtk.models.sampling import Sampling
from slmtk.models.streaming import AudioStream
from slmtk.progress import SilentProgress
from slmtk.stages.synth import SynthConfig, synth
from slmtk.stages.synth.stream import synth_stream
from slmtk.stages.train import train
from tests.helpers.tiny_run import TINY, make_dataset, use_voiced_tone

SILENT = SilentProgress()
SAMPLING = Sampling(temperature=1.0, max_seconds=1.5, min_seconds=1.0, loop_seconds=0.0)


@pytest.fixture(autouse=True)
def voiced_tone(monkeypatch):
    use_voiced_tone(monkeypatch)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        use_voiced_tone(patch)
        train(make_dataset(folder), folder / "model", replace(TINY, num_targets=0), SILENT)
    return folder / "model"


@pytest.fixture
def config(model, tmp_path):
    wav = 0.4 * torch.sin(torch.arange(16_000) * (2 * torch.pi * 600 / 16_000))
    audio.write(tmp_path / "ref.wav", wav, 16_000)
    return SynthConfig(model, (tmp_path / "ref.wav",), SAMPLING, device="cpu")


def frames_of(path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        return file.readframes(file.getnframes())


def test_the_streamed_file_is_the_file_that_synth_writes(config, tmp_path):
    told = []
    report = synth_stream("high", tmp_path / "new" / "stream.wav", config, SILENT, told.append)
    synth("high", tmp_path / "out", config, SILENT)
    expected, _ = audio.read(tmp_path / "out" / "wav" / "high.wav")
    found, _ = audio.read(tmp_path / "new" / "stream.wav")
    torch.testing.assert_close(found, expected, atol=1.1 / 32768, rtol=0)
    assert report.seconds_audio == pytest.approx(len(found) / 16_000, abs=1e-3)
    assert 0 < report.first_audio_seconds < report.seconds_wall
    (line,) = told
    said = re.fullmatch(r"first audio after ([\d.]+) s \(16000 Hz, 16 bits signed little-endian, mono\)", line)
    assert float(said[1]) == pytest.approx(report.first_audio_seconds, abs=1e-3)
    assert not report.closed


def test_lines_follow_each_other_with_a_pause(config, tmp_path):
    (tmp_path / "lines.txt").write_text("high\nlow\n")
    pipe = io.BytesIO()
    report = synth_stream(tmp_path / "lines.txt", pipe, config, SILENT)
    assert (report.out, report.utterances) == ("-", 2)
    assert len(pipe.getvalue()) == 2 * round(report.seconds_audio * 16_000)
    synth_stream("high", tmp_path / "high.wav", config, SILENT)
    high = frames_of(tmp_path / "high.wav")
    assert pipe.getvalue().startswith(high)
    assert not any(pipe.getvalue()[len(high) : len(high) + 2 * 4800])
    assert any(pipe.getvalue()[len(high) + 2 * 4800 :])


def test_what_an_interruption_leaves_can_be_played(config, tmp_path, monkeypatch):
    step, seen = AudioStream.__next__, []

    def interrupted(stream):
        if seen:
            seen.append(frames_of(tmp_path / "out.wav"))  # what a process killed just now would leave
        if len(seen) == 4:
            raise KeyboardInterrupt
        wav = step(stream)
        seen[:1] = [b""]
        return wav

    monkeypatch.setattr(AudioStream, "__next__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synth_stream("high", tmp_path / "out.wav", config, SILENT)
    left = frames_of(tmp_path / "out.wav")
    assert left == seen[3]
    assert len(seen[1]) < len(seen[2]) < len(seen[3])
    monkeypatch.undo()
    use_voiced_tone(monkeypatch)
    synth_stream("high", tmp_path / "whole.wav", config, SILENT)
    assert frames_of(tmp_path / "whole.wav").startswith(left)


class ShortPipe(io.RawIOBase):
    """Takes a thousand bytes at a time, and closes after ten thousand."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data) -> int:
        if len(self.taken) >= 10_000:
            raise BrokenPipeError
        self.taken += bytes(data[:1000])
        return len(data[:1000])


def test_a_reader_that_goes_away_ends_the_stream_quietly(config, tmp_path):
    pipe = ShortPipe()
    report = synth_stream("high", pipe, config, SILENT)
    assert report.closed
    assert report.succeeded == 0
    synth_stream("high", tmp_path / "whole.wav", config, SILENT)
    assert frames_of(tmp_path / "whole.wav").startswith(pipe.taken)


def test_what_cannot_be_streamed_is_refused_before_the_model_is_loaded(config, tmp_path):
    for target in ("out.flac", "out"):
        with pytest.raises(FormatError, match=r"name a \.wav file"):
            synth_stream("high", tmp_path / target, replace(config, model=tmp_path / "none"), SILENT)
    best = replace(config, n_best=2, model=tmp_path / "none")
    with pytest.raises(ConfigError, match="--n-best"):
        synth_stream("high", tmp_path / "out.wav", best, SILENT)
    with pytest.raises(ConfigError, match=r"--speaker REF\.wav"):
        synth_stream("high", tmp_path / "out.wav", replace(config, speakers=()), SILENT)
    assert not (tmp_path / "out.wav").exists()


PROGRAM = """
import json, sys
from pathlib import Path
import pytest
from slmtk.models.sampling import Sampling
from slmtk.progress import SilentProgress
from slmtk.stages.synth.config import SynthConfig
from slmtk.stages.synth.stream import CLOSED_STATUS, open_stdout, synth_stream
from tests.helpers.tiny_run import use_voiced_tone

with pytest.MonkeyPatch.context() as patch:
    use_voiced_tone(patch)
    sampling = Sampling(temperature=1.0, max_seconds=6.0, min_seconds=5.0, loop_seconds=0.0)
    config = SynthConfig(Path(sys.argv[1]), (Path(sys.argv[2]),), sampling, device="cpu")
    report = synth_stream("high", open_stdout(), config, SilentProgress(), lambda line: print(line, file=sys.stderr))
sys.exit(CLOSED_STATUS if report.closed else 0)
"""


def test_a_player_that_is_closed_sees_samples_alone_and_no_complaint(config):
    command = [sys.executable, "-c", PROGRAM, str(config.model), str(config.speakers[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as running:
        first = running.stdout.read(3200)
        running.stdout.close()
        complaint = running.stderr.read().decode()
        status = running.wait(60)
    assert np.abs(np.frombuffer(first, "<i2")).max() > 1000
    assert status == 141
    assert complaint.splitlines() == [line for line in complaint.splitlines() if line.startswith("first audio after")]

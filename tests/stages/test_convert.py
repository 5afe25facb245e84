"""convert: the source's codes with the reference's speaker vector, worked out by hand; and real voices come nearer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from slmtk.cli.convert import command
from slmtk.corpus import CorpusConfig
from slmtk.errors import AudioError, ConfigError, FormatError, SlmtkError
from slmtk.progress import SilentProgress
from slmtk.stages.convert import ConvertConfig, convert
from slmtk.stages.speech_sources import open_speech
from tests.helpers.tone import ToneCodec

VOICED = "tests.helpers.tone:VoicedToneCodec"
RATE = 16_000


def tone(pitches: list[int], peak: float) -> np.ndarray:
    return peak * ToneCodec().decode(torch.tensor([[pitches, [0] * len(pitches)]]))[0].numpy()


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "a.wav", tone([3, 9], 1.0)[:-10], RATE)
    soundfile.write(folder / "b.wav", tone([40], 0.25), RATE)
    (folder / "a.txt").write_text("hello")
    return folder


@pytest.fixture
def reference(tmp_path):
    soundfile.write(tmp_path / "ann.wav", tone([20] * 3, 0.5), RATE)
    return tmp_path / "ann.wav"


def run(source, out, reference, **options):
    options = {"codec": VOICED, "device": "cpu", "workers": 1, **options}
    return convert(source, out, ConvertConfig(reference, **options), SilentProgress())


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "synth.jsonl").read_text().splitlines()]


def test_the_sources_codes_are_spoken_with_the_references_vector(source, reference, tmp_path):
    report = run(source, tmp_path / "out", reference)
    wav, rate = soundfile.read(tmp_path / "out/wav/a.wav")
    assert rate == RATE
    # The codec's vector is the peak: 0.5 of the reference instead of 1.0 of the source; pitches are the source's.
    np.testing.assert_allclose(wav, tone([3, 9], 0.5)[:-10], atol=2e-4)
    # The quiet recording's level is in its codes (0.25 is level 4, -12 dB) and stays there.
    np.testing.assert_allclose(np.abs(soundfile.read(tmp_path / "out/wav/b.wav")[0]).max(), 0.5 * 10**-0.6, rtol=0.02)
    assert (report.utterances, report.converted, report.failed, report.failures) == (2, 2, 0, {})
    assert report.seconds_audio == pytest.approx((630 + 320) / RATE, abs=1e-3)
    assert (report.similarity, report.similarity_after, report.compared) == (None, None, 0)
    first = lines(tmp_path / "out")[0]
    assert (first["id"], first["text"], first["speaker"], first["wav"]) == ("a", "hello", "ann", "wav/a.wav")
    assert (first["reference"], first["steps"]) == (str(reference), 2)


def test_eval_wer_can_read_what_was_written(source, reference, tmp_path):
    run(source, tmp_path / "out", reference)
    speech = open_speech(tmp_path / "out")
    assert (speech.kind, sorted(speech.utterances)) == ("synthesis", ["a", "b"])
    assert speech.utterances["a"].reference == reference


def test_a_recording_that_fails_is_told_and_the_rest_is_converted(source, reference, tmp_path):
    (source / "c.wav").write_bytes(b"no sound")
    report = run(source, tmp_path / "out", reference)
    assert (report.converted, report.failed, report.failures) == (2, 1, {"unreadable": 1})
    last = lines(tmp_path / "out")[-1]
    assert (last["id"], last["wav"], last["reason"]) == ("c", None, "unreadable")
    assert "libsndfile" in last["message"]
    with pytest.raises(SlmtkError, match=r"all 1 recordings failed, the first: .*c.wav is no sound file"):
        run(source / "c.wav", tmp_path / "none", reference)


def test_a_second_run_leaves_nothing_of_the_first(source, reference, tmp_path):
    run(source, tmp_path / "out", reference)
    run(source / "b.wav", tmp_path / "out", reference, corpus=CorpusConfig(layout="folder"))
    assert sorted(path.name for path in (tmp_path / "out/wav").iterdir()) == ["b.wav"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(FormatError, match=r"mine is not empty and holds no synth.jsonl"):
        run(source, tmp_path / "mine", reference)


def test_a_codec_that_keeps_the_speaker_in_its_codes_is_refused_with_those_that_do_not(source, reference, tmp_path):
    for codec in ("tests.helpers.tone:ToneCodec", "mimi"):  # mimi's weights are not here; they are not asked for
        with pytest.raises(ConfigError, match=rf"codec '{codec}' keeps the speaker in its codes.*take it out: .*world"):
            run(source, tmp_path / "out", reference, codec=codec)
    assert not (tmp_path / "out").exists()


def test_a_reference_that_cannot_be_read_is_told_before_anything_is_written(source, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"x")
    with pytest.raises(AudioError, match=r"bad.wav is no sound file"):
        run(source, tmp_path / "out", tmp_path / "bad.wav")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_report_and_exits_3_if_some_failed(source, reference, tmp_path):
    (source / "c.wav").write_bytes(b"no sound")
    arguments = [str(source), str(tmp_path / "out"), "--speaker", str(reference), "--codec", VOICED, "--device", "cpu"]
    result = CliRunner().invoke(command, [*arguments, "--workers", "1", "--json"])
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert (report["converted"], report["failed"], report["reference"]) == (2, 1, str(reference))
    assert json.loads((tmp_path / "out/report.json").read_text())["converted"] == 2


@pytest.mark.data
def test_real_voices_come_nearer_to_the_reference(shared_data, tmp_path):
    pytest.importorskip("pyworld")
    folder = tmp_path / "in"
    folder.mkdir()
    # A man's and a woman's sentences, both in the voice of a third speaker.
    for path in (*_some(shared_data, "1089", 2), *_some(shared_data, "1998", 2)):
        (folder / path.name).write_bytes(path.read_bytes())
    (reference,) = _some(shared_data, "2412", 1)
    report = run(folder, tmp_path / "out", reference, codec="world", similarity=True, workers=2)
    assert (report.converted, report.compared, report.similarity) == (4, 4, "resemblyzer")
    assert report.similarity_after > report.similarity_before + 0.05
    assert lines(tmp_path / "out")[0]["similarity_before"] is not None


def _some(shared_data: Path, speaker: str, count: int) -> list[Path]:
    found = sorted((shared_data / "read_speech" / speaker).rglob("*.flac"), key=lambda path: path.stat().st_size)
    return found[:count]

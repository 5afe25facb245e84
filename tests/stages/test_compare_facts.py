"""From scores back to codec, speed and model: numbers that are written beside the speech, or are not told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from slmtk.config import write_json
from slmtk.errors import FormatError
from slmtk.spec import CodecSpec, Stream
from slmtk.stages.compare.facts import facts_of_answers, facts_of_speech, place_of
from slmtk.stages.compare.report import Facts

# 16,000 / 320 = 50 frames a second of 6 + 4 bits.
SPEC = CodecSpec("small", 16_000, 320, (Stream("a", 64), Stream("b", 16)))


def save_model(folder: Path, report: dict | None = None) -> Path:
    folder.mkdir(parents=True)
    tensors = {"w": np.zeros((10, 20), np.int8), "w:scale": np.zeros(10, np.float32), "b": np.zeros(5, np.float32)}
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "slmtk.json", {"kind": "model", "codec": SPEC.to_dict(), "report": report})
    return folder


def save_speech(folder: Path, **report) -> Path:
    write_json(folder / "slmtk.json", {"codec": SPEC.to_dict()})
    (folder / "synth.jsonl").write_text("")
    write_json(folder / "report.json", {"out": str(folder), **report})
    return folder


def test_speech_leads_to_its_codec_its_speed_and_its_model(tmp_path):
    model = save_model(tmp_path / "model")
    speech = save_speech(tmp_path / "speech", model=str(model), rtf=0.5, steps_per_second=80.0)
    assert facts_of_speech([speech]) == Facts(
        codec="small",
        bits_per_second=500.0,
        frame_rate=50.0,
        steps_per_second=80.0,
        rtf=0.5,
        parameters=205,  # rows' scales of a packed matrix are none
        weights_bytes=(model / "model.safetensors").stat().st_size,
    )


def test_parameters_are_those_that_the_model_tells_of_itself(tmp_path):
    model = save_model(tmp_path / "model", {"parameters": 199})
    assert facts_of_speech([save_speech(tmp_path / "speech", model=str(model))]).parameters == 199


def test_codes_have_a_codec_and_recordings_nothing(tmp_path):
    write_json(tmp_path / "codes/slmtk.json", {"codec": SPEC.to_dict()})
    assert facts_of_speech([tmp_path / "codes"]) == Facts(codec="small", bits_per_second=500.0, frame_rate=50.0)
    assert facts_of_speech([tmp_path / "gone"]) == Facts()


def test_runs_of_one_system_share_a_codec_and_their_speed_is_the_mean(tmp_path):
    runs = [save_speech(tmp_path / name, rtf=rtf) for name, rtf in (("a", 0.2), ("b", 0.4))]
    found = facts_of_speech(runs)
    assert (found.codec, found.rtf) == ("small", pytest.approx(0.3))
    other = CodecSpec("other", 16_000, 320, SPEC.streams)
    write_json(tmp_path / "b/slmtk.json", {"codec": other.to_dict()})
    found = facts_of_speech(runs)
    assert (found.codec, found.bits_per_second) == (None, 500.0)


def test_relative_places_are_where_the_run_saw_them(tmp_path):
    folder = tmp_path / "project/scores/a"
    folder.mkdir(parents=True)
    assert place_of("speech", "scores/a", folder) == (tmp_path / "project/speech").resolve()
    assert place_of("/speech", "scores/a", folder) == Path("/speech")
    assert place_of("speech", str(folder), folder) == Path("speech")
    assert place_of("speech", "scores/b", folder) == Path("speech")  # it was moved


def test_speech_that_failed_altogether_has_no_speed(tmp_path):
    line = {"seconds_wall": 1.0, "seconds_audio": 0.0, "steps": 9}
    assert facts_of_answers(None, [line]) == Facts()
    assert facts_of_answers(None, [{**line, "seconds_audio": 4.0}]) == Facts(steps_per_second=9.0, rtf=0.25)


def test_a_damaged_file_on_the_way_is_named(tmp_path):
    speech = save_speech(tmp_path / "speech")
    (speech / "report.json").write_text("{")
    with pytest.raises(FormatError, match=r"report.json cannot be read as JSON"):
        facts_of_speech([speech])
    model = save_model(tmp_path / "model")
    (model / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(FormatError, match=r"model.safetensors is no safetensors file"):
        facts_of_answers(model, [])

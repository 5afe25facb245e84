"""`synth` with a model that brings its own voices, and what it says of a model that runs slowly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.errors import ConfigError
from slmtk.models.own_voices import OwnVoices, own_place
from slmtk.models.packed import pack
from slmtk.models.sampling import Sampling
from slmtk.models.voices import Voice
from slmtk.progress import SilentProgress
from slmtk.stages.synth import SynthConfig, synth
from slmtk.stages.synth.stream import synth_stream
from tests.helpers.untrained import save_untrained

SHORT = Sampling(max_seconds=6.0, min_seconds=0.1, loop_seconds=0.1)
VOICES = OwnVoices(
    {name: Voice(name, None, torch.tensor([level])) for name, level in (("amy", 0.2), ("joe", 0.4))}, "joe"
)
STORY = "The dog ran home. The cat sat on the warm wall. Nobody asked why. " * 2


class Told(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model of random weights, packed, that speaks two seconds at a time."""
    folder = tmp_path_factory.mktemp("model")
    pack(save_untrained(folder / "whole"), folder / "packed", voices=VOICES, piece_seconds=2)
    return folder / "packed"


def records(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "synth.jsonl").read_text().splitlines()]


def test_a_line_is_spoken_in_its_own_voice_or_the_runs_or_the_models_default(model, tmp_path):
    lines = tmp_path / "lines.jsonl"
    texts = [{"text": "One."}, {"text": "Two.", "speaker": "amy"}, {"text": "Three.", "speaker": "somebody"}]
    lines.write_text("".join(json.dumps(line) + "\n" for line in texts))
    config = SynthConfig(model, sampling=SHORT, device="cpu")
    synth(lines, tmp_path / "a", config, SilentProgress())
    assert [(record["speaker"], record["reference"]) for record in records(tmp_path / "a")] == [
        ("joe", None),
        ("amy", None),
        ("joe", None),
    ]
    report = synth(lines, tmp_path / "a", config, SilentProgress())
    assert report.reused == 3
    synth(lines, tmp_path / "b", replace(config, speakers=(own_place("amy"),)), SilentProgress())
    assert [record["speaker"] for record in records(tmp_path / "b")] == ["amy"] * 3
    keys = [{record["id"]: record["key"] for record in records(tmp_path / name)} for name in "ab"]
    assert [keys[0][name] == keys[1][name] for name in keys[0]] == [False, True, False]


def test_a_voice_that_the_model_lacks_is_refused_before_anything_is_loaded(model, tmp_path):
    config = SynthConfig(model, (own_place("zoe"),), SHORT, device="cpu")
    with pytest.raises(ConfigError, match=r"no voice 'zoe' of its own \(it has joe, amy\)"):
        synth("One.", tmp_path / "out", config, SilentProgress())
    assert not (tmp_path / "out").exists()


def test_a_paragraph_is_spoken_in_pieces_that_the_model_speaks_well(model, tmp_path):
    config = SynthConfig(model, sampling=SHORT, device="cpu")
    report = synth(STORY, tmp_path / "out", config, SilentProgress())
    (record,) = records(tmp_path / "out")
    texts = [sentence["text"] for sentence in record["sentences"]]
    assert report.sentences == len(texts) == 8  # the cat's sentence takes more than two seconds
    assert texts[:4] == ["The dog ran home.", "The cat sat on", "the warm wall.", "Nobody asked why."]
    streamed = synth_stream(STORY, tmp_path / "stream.wav", config, SilentProgress())
    assert streamed.seconds_audio == pytest.approx(report.seconds_audio, abs=0.3)
    whole = synth(STORY, tmp_path / "whole", replace(config, split_long=False), SilentProgress())
    assert whole.sentences == 1


def test_the_built_in_voice_speaks_if_no_model_is_named(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slmtk.voice.built_in", lambda: model)
    options = ["--max-seconds", "1", "--loop-seconds", "0.1", "--min-seconds", "0.1", "--device", "cpu"]
    done = CliRunner().invoke(cli, ["synth", "Hello there.", *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["wavs"] == ["speech/hello-there/wav/hello-there.wav"]
    assert records(tmp_path / "speech" / "hello-there")[0]["speaker"] == "joe"
    done = CliRunner().invoke(cli, ["synth", "Hello there.", "out", "--speaker", "amy", *options])
    assert done.exit_code == 0, done.output
    assert records(tmp_path / "out")[0]["speaker"] == "amy"


def test_a_slow_step_is_told_once_and_a_fast_one_not_at_all(model, tmp_path, monkeypatch):
    config = SynthConfig(model, sampling=SHORT, device="cpu", batch_size=1)
    told = Told()
    synth("One.", tmp_path / "fast", config, told)
    assert told.lines == []
    for module in ("job", "stream"):
        monkeypatch.setattr(f"slmtk.stages.synth.{module}.why_slow", lambda model: "it is of wood")
    expected = ["speaking with transformers' own steps, which take longer: it is of wood"]
    synth("One.", tmp_path / "slow", config, told)
    assert told.lines == expected
    told.lines.clear()
    synth_stream("One.", tmp_path / "slow.wav", config, told)
    assert told.lines == expected


def test_workers_are_told_of_once():
    from slmtk.stages.synth.work import _tell_once

    told: list[str] = []
    assert list(_tell_once([("", ["a"]), ("wood", ["b", "c"]), ("wood", ["d"])], told.append)) == ["a", "b", "c", "d"]
    assert told == ["speaking with transformers' own steps, which take longer: wood"]

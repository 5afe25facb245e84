"""The face of `slmtk synth`: where speech goes, and which options do not go together."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.errors import ConfigError, PluginError
from slmtk.models.own_voices import OwnVoices, write_voices
from slmtk.models.voices import Voice
from slmtk.stages.synth import default_out
from tests.helpers.untrained import save_untrained


def plan(*args: str) -> dict[str, object]:
    done = CliRunner().invoke(cli, ["synth", *args, "--dry-run"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("Good morning, all!", "speech/good-morning-all"),
        ("book of 2.0.jsonl", "speech/book-of-2-0"),
        ("texts/a.txt", "speech/a"),
        ("-", "speech/stdin"),
    ],
)
def test_speech_has_a_folder_of_its_own_if_none_is_named(source, out):
    assert default_out(source) == Path(out)


def test_a_dry_run_tells_voices_candidates_shards_and_stream(tmp_path):
    (tmp_path / "codes").mkdir()
    options = ["--model", "model-to-be", "--speaker", f"{tmp_path / 'codes'}:anna", "--speaker", "ben.wav"]
    found = plan("-", "out", *options, "--n-best", "3", "--temperature", "1", "--shard-id", "1", "--num-shards", "4")
    assert found["would_read"] == [
        "texts: one a line, from stdin",
        "model: model-to-be (not there yet)",
        f"voice: speaker anna of the codes {tmp_path / 'codes'}",
        "voice: ben.wav (not there yet)",
        "recogniser: pocketsphinx",
    ]
    assert found["would_do"] == [
        "speak each text at temperature 1, 20 s at most, on auto",
        "keep the one of 3 candidates with the lowest WER",
        "speak the lines of shard 1 of 4",
    ]
    assert plan("Hi.", "--model", "model-to-be")["would_write"] == "speech/hi"
    streamed = plan("Hi.", "--model", "model-to-be", "--stream", "-")
    assert (streamed["would_write"], streamed["would_do"][-1]) == ("-", "write the audio as it is generated")


def test_a_dry_run_finds_mistakes():
    with pytest.raises(ConfigError, match="needs a --temperature above 0"):
        plan("Hi.", "--model", "model-to-be", "--n-best", "3")
    options = ["--n-best", "2", "--temperature", "1", "--recognizer", "pocketsfinx"]
    with pytest.raises(PluginError, match="no asr plug-in 'pocketsfinx'"):
        plan("Hi.", "--model", "model-to-be", *options)


def test_stream_goes_with_nothing_that_needs_whole_lines(tmp_path):
    arguments = [
        "Hi.",
        str(tmp_path / "out"),
        "--model",
        str(tmp_path),
        "--stream",
        "-",
        "--workers",
        "2",
        "--overwrite",
    ]
    done = CliRunner().invoke(cli, ["synth", *arguments], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert str(done.exception).endswith(f"leave out OUT ({tmp_path / 'out'}), --workers, --overwrite")


def test_without_a_built_in_voice_a_model_must_be_named(monkeypatch):
    monkeypatch.setattr("slmtk.voice.built_in", lambda: None)
    done = CliRunner().invoke(cli, ["synth", "Hi."], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert "no built-in voice; give --model DIR" in str(done.exception)


def test_a_bare_name_is_a_voice_of_the_models_own_unless_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "model")
    voices = {name: Voice(name, None, torch.tensor([0.3])) for name in ("amy", "joe")}
    write_voices(tmp_path / "model", OwnVoices(voices, "joe"))
    monkeypatch.setattr("slmtk.voice.built_in", lambda: tmp_path / "model")
    assert plan("Hi.", "--speaker", "amy")["would_read"][2:] == ["voice: amy, the model's own"]
    assert plan("Hi.")["would_read"][2:] == ["voice: joe, the model's own"]
    assert plan("Hi.", "--speaker", "zoe")["would_read"][2:] == ["voice: zoe (not there yet)"]
    (tmp_path / "amy").mkdir()
    assert plan("Hi.", "--speaker", "amy")["would_read"][2:] == ["voice: amy"]
    assert plan("Hi.", "--speaker", ":amy")["would_read"][2:] == ["voice: amy, the model's own"]


def test_a_voice_that_is_not_there_is_wrong_usage(tmp_path):
    arguments = ["Hi.", "--model", str(tmp_path), "--speaker"]
    for voice in ("gone.wav", f"{tmp_path / 'gone'}:anna"):
        done = CliRunner().invoke(cli, ["synth", *arguments, voice], standalone_mode=False)
        assert isinstance(done.exception, click.BadParameter)
        assert "does not exist" in str(done.exception)

"""The place of the built-in voice: what would lie there is in the wheel, and is small enough to be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from slmtk import audio, voice
from slmtk.asr.pocketsphinx import PocketsphinxRecognizer
from slmtk.cli.main import cli
from slmtk.metrics.similarity import cosine
from slmtk.models.own_voices import OwnVoices
from slmtk.models.packed import pack
from slmtk.models.voices import Voice
from slmtk.speakers.resemblyzer import ResemblyzerEncoder
from slmtk.synthesis.espeak import VOICES, speak
from tests.helpers.untrained import save_untrained

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    voices = OwnVoices({"amy": Voice("amy", None, torch.tensor([0.3]))}, "amy")
    pack(save_untrained(folder / "whole"), folder / "packed", voices=voices)
    return folder / "packed"


def package_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let resources of `slmtk.voice` lie in ``folder``."""
    monkeypatch.setattr(voice, "files", lambda package: folder)
    return folder / voice.FOLDER


def test_it_is_found_if_it_is_whole(packed, tmp_path, monkeypatch):
    place = package_at(tmp_path, monkeypatch)
    assert voice.built_in() is None
    shutil.copytree(packed, place)
    assert voice.built_in() == place
    (place / "slmtk.json").unlink()
    assert voice.built_in() is None


def test_what_is_built_in_here_is_small_and_packed():
    folder = voice.built_in()
    if folder is None:
        pytest.skip("this tree has no built-in voice")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= voice.MAX_BYTES
    assert (folder / "packed.safetensors").is_file()
    assert (folder / "voices.safetensors").is_file()


SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "He gave information to the authorities.",
    "It will not destroy values.",
)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """The folder with what the command spoke: sentences in the default voice, and in that of a recording."""
    if voice.built_in() is None:
        pytest.skip("this tree has no built-in voice")
    folder = tmp_path_factory.mktemp("spoken")
    audio.write(folder / "ada.wav", speak("Two red horses swim while the old man sleeps.", VOICES["ada"]), 16_000)
    lines = [{"id": f"own-{n}", "text": text} for n, text in enumerate(SENTENCES)]
    lines += [{"id": f"ada-{n}", "text": text, "reference": "ada.wav"} for n, text in enumerate(SENTENCES)]
    (folder / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = CliRunner().invoke(cli, ["synth", str(folder / "lines.jsonl"), str(folder / "out"), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    return folder


def test_what_is_built_in_here_speaks_english(spoken):
    lines = [json.loads(line) for line in (spoken / "out" / "synth.jsonl").read_text().splitlines()]
    assert all(not line["reason"] and 0.03 < line["seconds_audio"] / len(line["text"]) < 0.12 for line in lines)
    recognizer = PocketsphinxRecognizer()
    wavs = [audio.read(spoken / "out" / "wav" / f"own-{n}.wav", 16_000)[0] for n in range(len(SENTENCES))]
    heard = [text.split() for text in recognizer.transcribe(wavs)]
    right = [
        sum(word in said for word in text.lower().strip(".").split())
        for text, said in zip(SENTENCES, heard, strict=True)
    ]
    assert sum(right) >= 0.5 * sum(len(text.split()) for text in SENTENCES), heard


def test_what_is_built_in_here_speaks_in_the_voice_of_a_recording(spoken):
    encoder = ResemblyzerEncoder.create()

    def embed(path):
        return encoder.embed(audio.read(path, encoder.sample_rate)[0])

    person = embed(spoken / "ada.wav")
    for n in range(len(SENTENCES)):
        own, hers = (cosine(embed(spoken / "out" / "wav" / f"{who}-{n}.wav"), person) for who in ("own", "ada"))
        assert hers > own + 0.05


def test_the_patterns_of_package_data_cover_a_packed_model(packed, tmp_path):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["slmtk"]
    shutil.copytree(packed, tmp_path / "slmtk" / "voice" / voice.FOLDER)
    covered = {path for pattern in patterns for path in (tmp_path / "slmtk").glob(pattern)}
    assert {path for path in tmp_path.rglob("*") if path.is_file()} <= covered


@pytest.mark.slow
def test_a_wheel_brings_the_built_in_voice(packed, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "slmtk" / "voice", source / "slmtk" / "voice", dirs_exist_ok=True)
    shutil.rmtree(source / "slmtk" / "voice" / voice.FOLDER, ignore_errors=True)
    shutil.copytree(packed, source / "slmtk" / "voice" / voice.FOLDER)
    (source / "slmtk" / "__init__.py").write_text('"""A stub."""\n')
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("slmtk-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    for path in packed.rglob("*"):
        if path.is_file():
            name = f"slmtk/voice/{voice.FOLDER}/{path.relative_to(packed).as_posix()}"
            assert inside[name] == path.read_bytes()


def test_a_dry_run_tells_the_models_own_way_to_choose_codes(packed, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(packed, own)
    info = json.loads((own / "slmtk.json").read_text())
    for sampling, options, said in (
        ({}, [], "greedily"),
        ({"choose": "mean", "temperature": 0.5}, [], "the mean's codes at temperature 0.5"),
        ({"choose": "mean", "temperature": 0.5}, ["--choose", "draw"], "greedily"),
        ({"choose": "mean", "temperature": 0.5}, ["--temperature", "0.7"], "at temperature 0.7"),
    ):
        (own / "slmtk.json").write_text(json.dumps({**info, "sampling": sampling}))
        done = CliRunner().invoke(cli, ["synth", "One.", "--model", str(own), "--dry-run", *options])
        assert done.exit_code == 0, done.output
        assert f"speak each text {said}," in done.stdout

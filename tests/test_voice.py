"""The place of the built-in voice: what would lie there is in the wheel, and is small enough to be."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

from slmtk import voice
from slmtk.models.own_voices import OwnVoices
from slmtk.models.packed import pack
from slmtk.models.voices import Voice
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

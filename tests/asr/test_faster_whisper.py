"""faster-whisper: how it is called, with a stand-in for the package; and the package itself where it is installed."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch
from helpers.tiny_recognizers import save_whisper

from slmtk.errors import AudioError, ConfigError, FormatError

INSTALLED = find_spec("faster_whisper") is not None


class StandInModel:
    """Notes how it was made and called; hears one segment for each second that begins."""

    made: ClassVar[dict] = {}
    calls: ClassVar[list] = []
    supported_languages = ("en", "zh")

    def __init__(self, folder: str, **settings) -> None:
        if not (Path(folder) / "model.bin").is_file():
            raise RuntimeError("Unable to open file 'model.bin'\nmore lines")
        StandInModel.made = {"folder": folder, **settings}

    def transcribe(self, samples, **settings):
        StandInModel.calls.append({"dtype": samples.dtype, **settings})
        count = -(-len(samples) // 16_000)
        return (SimpleNamespace(text=f" part {number}") for number in range(count)), None


@pytest.fixture
def engine(monkeypatch):
    """Our module over a stand-in for the package: its class, and the package."""
    package = ModuleType("faster_whisper")
    package.WhisperModel = StandInModel
    monkeypatch.setitem(sys.modules, "faster_whisper", package)
    monkeypatch.delitem(sys.modules, "slmtk.asr.faster_whisper", raising=False)
    module = importlib.import_module("slmtk.asr.faster_whisper")
    monkeypatch.setattr(module, "version", lambda name: "1.2.1")
    StandInModel.calls.clear()
    yield SimpleNamespace(create=module.FasterWhisperRecognizer.create, package=package)
    sys.modules.pop("slmtk.asr.faster_whisper", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "converted"
    path.mkdir()
    (path / "model.bin").write_bytes(b"weights")
    return path


def test_segments_become_one_text_and_nothing_is_drawn_at_random(engine, folder):
    recognizer = engine.create(model=str(folder), language="zh")
    wavs = [torch.full((20_000,), 0.1), torch.zeros(16_000), torch.zeros(0), torch.full((100,), 0.1)]
    assert recognizer.transcribe(wavs) == ["part 0 part 1", "", "", "part 0"]
    assert StandInModel.calls == [{"dtype": "float32", "language": "zh", "beam_size": 5, "temperature": 0.0}] * 2


def test_device_and_precision_are_those_of_the_engine(engine, folder):
    on_gpu = engine.create(model=str(folder), device="cuda:1")
    assert StandInModel.made == {
        "folder": str(folder),
        "device": "cuda",
        "device_index": 1,
        "compute_type": "float16",
    }
    on_cpu = engine.create(model=str(folder))
    assert StandInModel.made["compute_type"] == "float32"
    assert on_gpu.name.endswith("en float16")
    assert on_cpu.name.endswith("en float32")
    with pytest.raises(ConfigError, match="cpu or cuda, not on 'mps'"):
        engine.create(model=str(folder), device="mps")


def test_the_name_tells_weights_and_languages_apart(engine, folder):
    names = {engine.create(model=str(folder), language=language).name for language in ("en", "zh")}
    (folder / "model.bin").write_bytes(b"other weights")
    names.add(engine.create(model=str(folder)).name)
    (folder / "vocabulary.json").write_text("[]")
    names.add(engine.create(model=str(folder)).name)
    assert len(names) == 4
    assert all(name.startswith(f"faster-whisper-1.2.1 {folder} sha256:") for name in names)


def test_a_revision_is_asked_of_the_hub_and_its_commit_is_in_the_name(engine, folder):
    asked = {}
    commit = folder.parent / "edaa852ec7e145841d8ffdb056a99866b5f0a478"
    folder.rename(commit)
    engine.package.download_model = lambda model, revision: asked.update({model: revision}) or str(commit)
    recognizer = engine.create(model="large-v3", revision="edaa852")
    assert asked == {"large-v3": "edaa852"}
    assert recognizer.name == "faster-whisper-1.2.1 large-v3 edaa852ec7e1 en float32"


def test_mistakes_are_named_in_one_line(engine, folder, tmp_path):
    with pytest.raises(ConfigError, match="needs a model: a size such as large-v3"):
        engine.create()
    with pytest.raises(ConfigError, match="no use for"):
        engine.create(model=str(folder), grammar=tmp_path / "g.jsgf")
    with pytest.raises(ConfigError, match="local folder, which has no revision 'v1'"):
        engine.create(model=str(folder), revision="v1")
    with pytest.raises(ConfigError, match="does not know the language 'xx'; it knows en zh"):
        engine.create(model=str(folder), language="xx")
    (folder / "model.bin").unlink()
    with pytest.raises(FormatError, match=r"can load \(Unable to open file 'model.bin'\)$"):
        engine.create(model=str(folder))

    def offline(model, revision):
        raise ValueError("Invalid model size 'huge'")

    engine.package.download_model = offline
    with pytest.raises(FormatError, match=r"huge is no local folder and cannot be fetched .*Invalid model size"):
        engine.create(model="huge")


def test_samples_that_are_no_numbers_are_refused(engine, folder):
    with pytest.raises(AudioError, match="NaN"):
        engine.create(model=str(folder)).transcribe([torch.tensor([0.1, float("nan")])])


@pytest.mark.skipif(not INSTALLED, reason="faster-whisper is not installed")
def test_the_package_itself_decodes_a_converted_model_the_same_way_in_any_order(tmp_path):
    from ctranslate2.converters import TransformersConverter

    from slmtk.asr.faster_whisper import FasterWhisperRecognizer

    published, converted = tmp_path / "published", tmp_path / "converted"
    published.mkdir()
    save_whisper(published, languages=("en", "zh"), times=True, positions=448)
    converter = TransformersConverter(str(published), copy_files=["tokenizer.json"])
    converter.convert(str(converted))
    recognizer = FasterWhisperRecognizer.create(model=str(converted))
    generator = torch.Generator().manual_seed(0)
    wavs = [torch.randn(16_000 * seconds, generator=generator) * 0.5 for seconds in (1, 3, 10, 20, 29)]
    texts = recognizer.transcribe(wavs)
    assert all(texts)
    assert len(set(texts)) > 1
    assert recognizer.transcribe(wavs[::-1]) == texts[::-1]

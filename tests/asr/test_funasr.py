"""FunASR: how it is called, with a stand-in for the package, which was not tested itself."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import ClassVar

import pytest
import torch

from slmtk.errors import AudioError, ConfigError, FormatError


class StandIn:
    made: ClassVar[list[dict]] = []

    def __init__(self, **settings) -> None:
        print("funasr version: 1")
        if "broken" in settings["model"]:
            raise AssertionError("broken is not registered\nmore")
        StandIn.made.append(settings)
        self.model_path = settings["model"]

    def generate(self, *, input, batch_size_s):
        assert (str(input.dtype), batch_size_s) == ("float32", 300)
        return [{"key": "rand_key", "text": f" {len(input)} 你 好 "}]


@pytest.fixture
def create(monkeypatch):
    package = ModuleType("funasr")
    package.AutoModel = StandIn
    monkeypatch.setitem(sys.modules, "funasr", package)
    monkeypatch.delitem(sys.modules, "slmtk.asr.funasr", raising=False)
    module = importlib.import_module("slmtk.asr.funasr")
    monkeypatch.setattr(module, "version", lambda name: "1.4.16")
    monkeypatch.setattr(StandIn, "made", [])
    yield module.FunasrRecognizer.create
    sys.modules.pop("slmtk.asr.funasr", None)


def test_utterances_are_heard_one_by_one_and_stdout_stays_ours(create, tmp_path, capsys):
    (tmp_path / "model.pt").write_bytes(b"weights")
    recognizer = create(model=str(tmp_path))
    texts = recognizer.transcribe([torch.full((320,), 0.1), torch.zeros(320), torch.full((160,), 0.1)])
    assert texts == ["320 你 好", "", "160 你 好"]
    assert StandIn.made[0]["device"] == "cpu"
    assert "model_revision" not in StandIn.made[0]
    assert capsys.readouterr().out == ""


def test_other_weights_have_another_name(create, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    first = create(model=str(tmp_path)).name
    (tmp_path / "model.pt").write_bytes(b"others")
    assert first.startswith(f"funasr-1.4.16 {tmp_path} sha256:")
    assert create(model=str(tmp_path)).name != first


def test_mistakes_are_one_line(create, tmp_path):
    with pytest.raises(ConfigError, match="no use for"):
        create(grammar=tmp_path)
    with pytest.raises(ConfigError, match="leave the revision out"):
        create(model=str(tmp_path), revision="v2.0.4")
    with pytest.raises(FormatError, match=r"^broken: .*\(broken is not registered\); without a network"):
        create(model="broken")


def test_nan_is_refused(create, tmp_path):
    with pytest.raises(AudioError, match="NaN"):
        create(model=str(tmp_path)).transcribe([torch.tensor([float("nan")])])

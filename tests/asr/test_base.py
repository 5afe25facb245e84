"""Loading a recogniser by name: plug-ins get the settings that they have, and no others."""

from __future__ import annotations

import pytest

from slmtk import plugins
from slmtk.asr.base import Recognizer, load_recognizer
from slmtk.errors import ConfigError


class Plain(Recognizer):
    """Has neither revisions nor languages."""

    name = "plain"

    @classmethod
    def create(cls, *, model=None, grammar=None, device="cpu"):
        made = cls()
        made.settings = {"model": model, "grammar": grammar, "device": device}
        return made

    def transcribe(self, wavs):
        return [""] * len(wavs)


class Choosy(Plain):
    """Has both."""

    @classmethod
    def create(cls, *, model=None, revision=None, grammar=None, device="cpu", language="en"):
        made = super().create(model=model, grammar=grammar, device=device)
        made.settings |= {"revision": revision, "language": language}
        return made


@pytest.fixture
def offered(monkeypatch):
    monkeypatch.setattr(plugins, "load", lambda group, name: {"plain": Plain, "choosy": Choosy}[name])


def test_a_plug_in_without_revision_and_language_is_not_asked_for_them(offered, tmp_path):
    loaded = load_recognizer("plain", model="m", grammar=tmp_path, device="cuda")
    assert loaded.settings == {"model": "m", "grammar": tmp_path, "device": "cuda"}


def test_a_plug_in_that_has_them_gets_them(offered):
    defaults = {"model": None, "grammar": None, "device": "cpu", "revision": None, "language": "en"}
    assert load_recognizer("choosy").settings == defaults
    loaded = load_recognizer("choosy", revision="v1", language="zh")
    assert loaded.settings == defaults | {"revision": "v1", "language": "zh"}


@pytest.mark.parametrize(("setting", "value"), [("revision", "v1"), ("language", "zh")])
def test_a_setting_that_a_plug_in_lacks_is_refused(offered, setting, value):
    with pytest.raises(ConfigError, match=f"'plain' has no choice of {setting}; leave out '{value}'"):
        load_recognizer("plain", **{setting: value})

"""slmtk codecs: from cards alone, one row each, on a terminal of 100 columns."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from slmtk import plugins
from slmtk.cli.codecs import command, tables
from slmtk.codecs.base import Card, Codec
from slmtk.codecs.weights import Published
from slmtk.errors import WeightsError
from slmtk.spec import Stream
from slmtk.stages.codecs import codebooks_text, list_codecs
from tests.helpers.tone import ToneCodec


class Carded(ToneCodec):
    card = Card(ToneCodec.spec, Published("nobody/tone", "1", ("w.bin",)), "MIT", requires=("no_such_package",))

    @classmethod
    def create(cls, *, device="cpu", checkpoint=None):
        raise AssertionError("a codec with a card must not be loaded to be listed")


class Broken(ToneCodec):
    @classmethod
    def create(cls, *, device="cpu", checkpoint=None):
        raise WeightsError("its weights\nare [gone]")


class Crashing(ToneCodec):
    @classmethod
    def create(cls, *, device="cpu", checkpoint=None):
        return cls.no_such_thing


@pytest.fixture
def install(monkeypatch):
    """Pretend that these classes are the codec plug-ins."""

    def pretend(**kinds: type[Codec]) -> None:
        monkeypatch.setattr(plugins, "available", lambda group: dict.fromkeys(kinds))
        monkeypatch.setattr(plugins, "load", lambda group, name: kinds[name])

    return pretend


def shown(rows) -> list[str]:
    console = Console(width=100, color_system=None, force_terminal=True)
    with console.capture() as capture:
        for part in tables(rows):
            console.print(part)
    return capture.get().splitlines()


def test_a_card_is_enough_and_says_what_is_missing(install):
    install(carded=Carded)
    row = list_codecs()["carded"]
    assert (row.installed, row.missing, row.weights) == (False, ("no_such_package",), "not fetched")
    assert (row.family, row.frame_rate, row.bits_per_second, row.licence) == ("coupled", 50.0, 500, "MIT")
    assert (row.repo, row.revision) == ("nobody/tone", "")
    assert "needs no_such_package" in "\n".join(shown({"carded": row}))


def test_cached_and_included_weights_are_told_apart(install, monkeypatch):
    class Included(ToneCodec):
        card = Card(ToneCodec.spec)

    install(carded=Carded, included=Included)
    monkeypatch.setattr(Published, "is_cached", lambda self: True)
    assert [row.weights for row in list_codecs().values()] == ["cached", "included"]


def test_a_codec_without_a_card_is_loaded_and_a_failure_is_one_line(install):
    install(tone=ToneCodec, broken=Broken, crashing=Crashing)
    rows = list_codecs()
    assert (rows["tone"].sample_rate, rows["tone"].licence) == (16_000, "unknown")
    assert rows["broken"] == "its weights are [gone]"
    assert rows["crashing"].startswith("AttributeError: ")
    assert "broken: its weights are [gone]" in shown(rows)
    printed = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert printed["broken"] == {"error": "its weights are [gone]"}
    assert printed["tone"]["streams"][1] == {"name": "level", "size": 16, "kind": "prosody"}


def test_our_codecs_stand_in_one_line_each():
    rows = list_codecs()
    lines = shown(rows)
    for name, row in rows.items():
        assert not isinstance(row, str), row
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert row.licence.split()[0] in line
        assert len(line) <= 100
        assert row.family in line
    (mimi,) = [line.split() for line in lines if line.startswith("mimi ")]
    assert mimi[1:8] == ["semi-decoupled", "24", "12.5", "32", "x", "2048", "*"]
    assert mimi[8] == "4,400"


def test_codebooks_are_written_short():
    def text(*sizes):
        return codebooks_text(tuple(Stream(str(place), size) for place, size in enumerate(sizes)))

    assert text(1024, 1024, 1024) == "3 x 1024"
    assert text(65_536) == "1 x 65536"
    assert text(64, 16) == "64 + 16"
    assert text(512, 1024, 1024) == "512 + 2 x 1024"

"""Voices that a model carries."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slmtk.errors import ConfigError, FormatError
from slmtk.models.own_voices import FILE_NAME, OwnVoices, own_name, own_place, read_voices, write_voices
from slmtk.models.voices import Voice

ZOE = Voice("zoe", None, torch.tensor([1.0, 2.0]), torch.tensor([3.0]), torch.tensor([[1, 2], [3, 4]]))
BEN = Voice("ben-2", None, torch.tensor([5.0, 6.0]))
BOTH = OwnVoices({"ben-2": BEN, "zoe": ZOE}, "zoe")


def test_voices_come_back_with_the_default_one_first(tmp_path):
    write_voices(tmp_path / "model", BOTH)
    found = read_voices(tmp_path / "model")
    assert (list(found.voices), found.default) == (["zoe", "ben-2"], "zoe")
    zoe, ben = found.get("zoe"), found.get("ben-2")
    assert (zoe.id, zoe.path, ben.embedding, ben.codes) == ("zoe", None, None, None)
    assert torch.equal(zoe.speaker, ZOE.speaker)
    assert torch.equal(zoe.embedding, ZOE.embedding)
    assert torch.equal(zoe.codes, ZOE.codes)
    assert zoe.codes.dtype == torch.int64
    assert torch.equal(ben.speaker, BEN.speaker)


def test_the_same_voices_give_the_same_bytes(tmp_path):
    write_voices(tmp_path / "a", BOTH)
    write_voices(tmp_path / "b", OwnVoices({"zoe": ZOE, "ben-2": BEN}, "zoe"))
    assert (tmp_path / "a" / FILE_NAME).read_bytes() == (tmp_path / "b" / FILE_NAME).read_bytes()


def test_a_model_need_not_carry_any(tmp_path):
    assert read_voices(tmp_path) == OwnVoices()
    with pytest.raises(ConfigError, match=r"no voice 'amy' of its own \(it carries none\)"):
        OwnVoices().get("amy")
    with pytest.raises(ConfigError, match=r"no voice 'amy' of its own \(it has ben-2, zoe\)"):
        BOTH.get("amy")


def test_names_that_would_be_mistaken_for_something_else_are_refused(tmp_path):
    for name in ("a.b", "a/b", "", "a:b", "-"):
        with pytest.raises(ConfigError, match="expected names of letters"):
            write_voices(tmp_path, OwnVoices({name: BEN}, name))
    with pytest.raises(ConfigError, match="default 'amy'"):
        write_voices(tmp_path, OwnVoices({"ben": BEN}, "amy"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 5, 40, -1])
def test_a_damaged_file_is_named(tmp_path, cut):
    write_voices(tmp_path, BOTH)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FormatError, match=f"{FILE_NAME} holds no voices"):
        read_voices(tmp_path)


def test_a_colon_in_front_means_the_models_own():
    assert own_name(own_place("zoe")) == "zoe"
    assert [own_name(Path(place)) for place in ("zoe", "codes:zoe", "a/:b", ":")] == [None] * 4

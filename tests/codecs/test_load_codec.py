"""Finding a codec again: by a plug-in's name or module:Class, with as many codebooks as its codes have."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import soundfile
import torch
from click.testing import CliRunner

from slmtk import plugins
from slmtk.cli.tokenize import command
from slmtk.codecs.base import Codec, Encoded, codec_class, load_codec, load_codec_of
from slmtk.data.dataset import open_dataset
from slmtk.errors import ConfigError, PluginError
from slmtk.progress import SilentProgress
from slmtk.shards import open_codes
from slmtk.spec import CodecSpec
from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset
from slmtk.stages.resynth import resynthesise
from slmtk.stages.tokenize import TokenizeConfig, default_out, tokenize
from tests.helpers.tone import ToneCodec

TONE = "tests.helpers.tone:ToneCodec"
SHORTER = "tests.codecs.test_load_codec:ShorterToneCodec"


class ShorterToneCodec(ToneCodec):
    """`ToneCodec` that can leave out the level: then every tone has the loudest one."""

    variable_codebooks = True

    @classmethod
    def create(cls, *, device="cpu", checkpoint=None, num_codebooks=None):
        codec = cls()
        codec.spec = dataclasses.replace(ToneCodec.spec, streams=ToneCodec.spec.streams[:num_codebooks])
        return codec

    def encode(self, wav):
        return Encoded(super().encode(wav).codes[:, : self.spec.num_codebooks], None)

    def decode(self, codes, speaker=None):
        return self._tones(torch.cat([codes, torch.zeros_like(codes)], 1)[:, :2])


def write_tones(folder: Path) -> Path:
    folder.mkdir()
    for number, pitch in enumerate((3, 9)):
        wav = ToneCodec().decode(torch.tensor([[[pitch] * 8, [0] * 8]]))[0]
        soundfile.write(folder / f"{number}.wav", wav.numpy(), 16_000, subtype="FLOAT")
        (folder / f"{number}.txt").write_text("a tone")
    return folder


def test_a_class_that_is_no_plug_in_is_remembered_with_its_codes(tmp_path):
    config = TokenizeConfig(codec=TONE, device="cpu", workers=1)
    tokenize(write_tones(tmp_path / "in"), tmp_path / "codes", config, SilentProgress())
    folder = open_codes(tmp_path / "codes")
    assert (folder.spec.name, folder.spec.source) == ("tone", TONE)
    assert isinstance(load_codec_of(folder.spec), ToneCodec)
    report = resynthesise(folder, tmp_path / "audio", SilentProgress(), device="cpu", workers=1)
    assert report.written == 2
    build = BuildDatasetConfig()
    filters = dataclasses.replace(build.filters, min_seconds=0.0, max_chars_per_second=1000.0)
    build = dataclasses.replace(build, filters=filters)
    build_dataset([tmp_path / "codes"], tmp_path / "dataset", build, SilentProgress())
    assert isinstance(load_codec_of(open_dataset(tmp_path / "dataset").spec), ToneCodec)


def test_a_folder_from_before_the_source_was_kept_is_still_decoded(tmp_path):
    config = TokenizeConfig(codec=TONE, device="cpu", workers=1)
    tokenize(write_tones(tmp_path / "in"), tmp_path / "codes", config, SilentProgress())
    index = json.loads((tmp_path / "codes/slmtk.json").read_text())
    del index["codec"]["source"]
    (tmp_path / "codes/slmtk.json").write_text(json.dumps(index))
    assert open_codes(tmp_path / "codes").spec.source == TONE


def test_the_source_says_where_a_codec_is_and_not_which_one():
    here, there = ToneCodec.spec, dataclasses.replace(ToneCodec.spec, source=TONE)
    assert here == there
    assert here.differences(there) == there.differences(here) == []
    assert "source" not in here.to_dict()
    assert CodecSpec.from_dict(json.loads(json.dumps(there.to_dict()))).source == TONE
    assert CodecSpec.from_dict(here.to_dict()).source == ""


def test_a_plug_in_under_another_name_than_its_codecs_is_found_again(monkeypatch):
    monkeypatch.setattr(plugins, "load", lambda group, name: {"tone-24k": ToneCodec}[name])
    assert load_codec("tone-24k").spec.source == "tone-24k"
    assert isinstance(load_codec_of(load_codec("tone-24k").spec), ToneCodec)


def test_codes_of_fewer_codebooks_are_decoded_with_fewer(tmp_path):
    options = ["--codec", SHORTER, "--codebooks", "1", "--device", "cpu", "--workers", "1"]
    result = CliRunner().invoke(command, [str(write_tones(tmp_path / "in")), str(tmp_path / "codes"), *options])
    assert result.exit_code == 0, result.output
    folder = open_codes(tmp_path / "codes")
    assert [stream.name for stream in folder.spec.streams] == ["pitch"]
    assert [row.codes.tolist() for row in folder.rows()] == [[[3] * 8], [[9] * 8]]
    assert folder.index["config"]["codebooks"] == 1
    assert load_codec_of(folder.spec).spec == folder.spec
    assert load_codec(SHORTER).spec.num_codebooks == 2


def test_codebooks_of_a_codec_without_a_choice_are_refused():
    with pytest.raises(ConfigError, match="codec 'world' has no choice of codebooks; leave out --codebooks 2"):
        load_codec("world", codebooks=2)
    with pytest.raises(ConfigError, match="--codebooks 0 must be 1 or more"):
        TokenizeConfig(codec="world", codebooks=0)


def test_what_is_no_codec_is_refused_before_it_is_loaded():
    with pytest.raises(PluginError, match=r"expected a subclass of slmtk\.codecs\.base\.Codec"):
        codec_class("slmtk.spec:CodecSpec")
    assert issubclass(codec_class(TONE), Codec)


def test_codes_of_fewer_codebooks_go_into_a_folder_of_their_own(tmp_path):
    assert default_out(tmp_path / "x", "mimi", 8) == Path("mimi-8-codes/x")
    assert default_out(tmp_path / "x", "mimi") == Path("mimi-codes/x")

"""tokenize --verify-batch: rates worked out by hand, and nothing written."""

from __future__ import annotations

import json

import pytest
import soundfile
import torch
from click.testing import CliRunner

from slmtk.cli.tokenize import command
from slmtk.codecs.base import Encoded
from slmtk.errors import CorpusError
from slmtk.progress import SilentProgress
from slmtk.stages.tokenize import TokenizeConfig
from slmtk.stages.tokenize.verify import StreamCheck, equal_batches, verify_batch
from tests.helpers.tone import ToneCodec


class SociableCodec(ToneCodec):
    """In company, the first frame of the first row has the level above."""

    def encode(self, wav):
        codes = super().encode(wav).codes
        if len(wav) > 1:
            codes[0, 1, 0] += 1
        return Encoded(codes, None)


class FickleCodec(ToneCodec):
    """Every second time, all pitches are one higher."""

    times = 0

    def encode(self, wav):
        codes = super().encode(wav).codes
        self.times += 1
        codes[:, 0] += self.times % 2
        return Encoded(codes, None)


def source(folder, frames=(4, 6, 5)):
    folder.mkdir()
    for number, count in enumerate(frames):
        wav = ToneCodec().decode(torch.tensor([[[number + 3] * count, [2] * count]]))[0]
        soundfile.write(folder / f"{number}.wav", wav.numpy(), 16_000, subtype="FLOAT")
    return folder


def check(folder, codec, **options):
    config = TokenizeConfig(codec=f"tests.stages.test_tokenize_verify:{codec}", device="cpu")
    return verify_batch(folder, config, SilentProgress(), **options)


def test_neighbours_in_length_are_cut_to_the_shortest():
    wavs = [torch.full((length,), float(length)) for length in (50, 31, 70, 62)]
    shapes = [[list(batch.shape), batch[:, 0].tolist()] for batch in equal_batches(wavs, 10, batch=2)]
    assert shapes == [[[2, 30], [31.0, 50.0]], [[2, 60], [62.0, 70.0]]]
    assert [len(batch) for batch in equal_batches(wavs[:3], 10, batch=2)] == [3]
    assert [len(batch) for batch in equal_batches([*wavs, *wavs[:1]], 10, batch=2)] == [2, 3]


def test_a_codec_that_minds_its_company_is_told_stream_by_stream(tmp_path):
    report = check(source(tmp_path / "in"), "SociableCodec")
    # One batch of three rows of 4 frames; one code in twelve differs.
    assert (report.utterances, report.frames, report.differing_utterances) == (3, 12, 1)
    assert report.streams == {"pitch": StreamCheck(0.0, 0.0), "level": StreamCheck(8.3333, 0.0)}


def test_a_codec_that_gives_other_codes_each_time_is_not_blamed_on_the_batch(tmp_path):
    report = check(source(tmp_path / "in"), "FickleCodec")
    # Calls are numbered: the batch 1, then two for each row, (2, 3), (4, 5), (6, 7).
    assert report.streams == {"pitch": StreamCheck(100.0, 100.0), "level": StreamCheck(0.0, 0.0)}


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path):
    folder = source(tmp_path / "in")
    (folder / "broken.wav").write_bytes(b"RIFF nonsense")
    report = check(folder, "SociableCodec")
    assert (report.utterances, report.left_out) == (3, 1)
    with pytest.raises(CorpusError, match=r"1 utterances of .* can be used; a batch needs two"):
        check(source(tmp_path / "one", frames=(4,)), "SociableCodec")


def test_the_command_writes_nothing_but_its_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--codec", "tests.helpers.tone:ToneCodec", "--device", "cpu", "--verify-batch"]
    result = CliRunner().invoke(command, [str(source(tmp_path / "in")), *options, "--verify-utterances", "2"])
    report = json.loads(result.stdout)
    assert (report["utterances"], report["differing_utterances"], report["batch_size"]) == (2, 0, 8)
    assert report["streams"]["pitch"] == {"batch_percent": 0.0, "repeat_percent": 0.0}
    assert [path.name for path in tmp_path.iterdir()] == ["in"]

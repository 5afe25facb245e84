"""tokenize --max-seconds: rows of pieces that lie where their ids say, resumed and sharded like any others."""

from __future__ import annotations

import json

import pytest
import soundfile

from slmtk import audio, shards
from slmtk.errors import ConfigError
from slmtk.stages.tokenize.job import _sha1
from tests.helpers.pausing import write_with_pauses
from tests.helpers.tone_corpus import RATE, compute_in_this_process, contents, run, tones


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A recording of 12 s with pauses at 3.9 and 8.2 s, and one of 1 s."""
    compute_in_this_process(monkeypatch)
    write_with_pauses(tmp_path / "in/ann/long.wav", 12.0, [3.9, 8.2])
    (tmp_path / "in/ann/long.txt").write_text("many words")
    soundfile.write(tmp_path / "in/ann/short.wav", tones([5] * 50, [0] * 50), RATE)
    (tmp_path / "in/ann/short.txt").write_text("few words")
    return tmp_path / "in"


def test_pieces_are_rows_without_text_that_cover_the_recording(tmp_path, source):
    report = run(source, tmp_path / "out", max_seconds=5.0)
    assert (report.utterances, report.split, report.encoded, report.failed) == (4, 1, 4, 0)
    *pieces, short = shards.open_codes(tmp_path / "out").rows()
    spans = [tuple(map(float, row.id.removeprefix("long@").split("-"))) for row in pieces]
    # 12 / 4 = 3 pieces; a cut is free by half a second around 4 and 8 s.
    assert spans[0] == (0.0, pytest.approx(3.9, abs=0.03))
    assert spans[1] == (spans[0][1], pytest.approx(8.2, abs=0.03))
    assert spans[2] == (spans[1][1], 12.0)
    for row, (start, stop) in zip(pieces, spans, strict=True):
        assert row.duration == pytest.approx(stop - start, abs=1e-3)
        assert (row.text, row.speaker, row.source) == (None, "ann", "ann/long.wav")
        assert row.source_sha1 == _sha1(source / "ann/long.wav")
    assert (short.id, short.text) == ("short", "few words")
    assert shards.verify(tmp_path / "out") == []
    assert shards.open_codes(tmp_path / "out").index["config"]["max_seconds"] == 5.0


def test_a_piece_has_the_codes_of_its_audio_alone(tmp_path, source):
    run(source, tmp_path / "out", max_seconds=5.0)
    row = list(shards.open_codes(tmp_path / "out").rows())[1]
    start, stop = (round(float(end) * RATE) for end in row.id.removeprefix("long@").split("-"))
    (tmp_path / "cut").mkdir()
    wav, _ = audio.read(source / "ann/long.wav")
    soundfile.write(tmp_path / "cut/a.wav", wav[start:stop].numpy(), RATE, subtype="FLOAT")
    run(tmp_path / "cut", tmp_path / "cut-out")
    (alone,) = shards.open_codes(tmp_path / "cut-out").rows()
    assert alone.codes.tolist() == row.codes.tolist()


def test_pieces_are_resumed_sharded_and_batched_to_the_same_bytes(tmp_path, source):
    hours = 3 / 3600
    run(source, tmp_path / "whole", max_seconds=5.0, shard_hours=hours)
    out = tmp_path / "out"
    parts = [run(source, out, max_seconds=5.0, shard_hours=hours, shard_id=n, num_shards=2).parts for n in (1, 0)]
    assert sum(parts) == 4
    assert contents(out) == contents(tmp_path / "whole")
    assert run(source, out, max_seconds=5.0, shard_hours=hours).parts_reused == 4
    run(source, tmp_path / "alone", max_seconds=5.0, shard_hours=hours, batch_seconds=0.0)
    assert contents(tmp_path / "alone") == contents(out)
    with pytest.raises(ConfigError, match=r"max_seconds was 5.0, is 6.0"):
        run(source, out, max_seconds=6.0, shard_hours=hours)


def test_pieces_that_cannot_be_read_fail_one_by_one_and_are_resumed_too(tmp_path, source):
    path = source / "ann/long.wav"
    path.write_bytes(path.read_bytes()[: -2 * RATE])
    report = run(source, tmp_path / "out", max_seconds=5.0)
    assert report.failures == {"truncated": report.utterances - 1}
    failures = [json.loads(line) for line in (tmp_path / "out/errors.jsonl").read_text().splitlines()]
    assert {(failure["id"].split("@")[0], failure["path"]) for failure in failures} == {("long", "ann/long.wav")}
    assert run(source, tmp_path / "out", max_seconds=5.0).parts_reused == 1


def test_without_the_option_nothing_is_split(tmp_path, source):
    report = run(source, tmp_path / "out")
    assert (report.utterances, report.split) == (2, 0)
    assert [row.id for row in shards.open_codes(tmp_path / "out").rows()] == ["long", "short"]

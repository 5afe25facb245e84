"""inspect: counts worked out by hand, damage reported, and audio that is what the codec makes of the codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from slmtk import audio, shards
from slmtk.cli.inspect import command
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.progress import SilentProgress
from slmtk.shards import CodesRow
from slmtk.stages.inspect import InspectConfig, inspect
from slmtk.stages.inspect_usage import duration_histogram, entropy_bits
from slmtk.stages.resynth import file_name
from tests.helpers.tone import ToneCodec, VoicedToneCodec

TONE = "tests.helpers.tone:ToneCodec"
VOICED = "tests.helpers.tone:VoicedToneCodec"


def write_codes(out, codec=ToneCodec, name=TONE, rows=None):
    rows = rows or [
        CodesRow("a", np.array([[0, 1, 2, 3], [5, 5, 5, 4]], np.int32), 0.08, text="one", speaker="ann"),
        CodesRow("b", np.array([[0, 1, 2, 3], [5, 5, 5, 5]], np.int32), 0.07, speaker="bob"),
    ]
    if codec.spec.speaker_dim:
        vectors = [np.array([level], np.float32) for level in (0.25, 0.5)]
        rows = [CodesRow(**{**vars(row), "speaker_vector": v}) for row, v in zip(rows, vectors, strict=True)]
    info = shards.write_shard(out / shards.part_name(0), codec.spec, rows)
    shards.write_index(out, codec.spec, {"codec": name}, "f00", [info], 0)
    return out


def look(codes, **options):
    return inspect(codes, InspectConfig(**{"device": "cpu", "workers": 1, **options}), SilentProgress())


def test_use_of_codebooks_is_counted_as_by_hand(tmp_path):
    report = look(write_codes(tmp_path))
    pitch, level = report.streams
    # Four codes, each in two of eight frames: 2 bits of log2(64).
    assert (pitch.used, pitch.dead, pitch.entropy_bits, pitch.max_bits) == (4, 60, 2.0, 6.0)
    assert (pitch.stuck_utterances, pitch.constant_utterances, pitch.verdict) == (0, 0, "ok")
    # 7 of 8 and 1 of 8: -(7/8 log2 7/8 + 1/8 log2 1/8) = 0.544 bits.
    assert (level.used, level.entropy_bits, level.top_code, level.top_share) == (2, 0.544, 5, 0.875)
    assert (level.stuck_utterances, level.constant_utterances, level.verdict) == (2, 1, "stuck")
    assert (report.rows, report.frames, report.speakers, report.with_text, report.problems) == (2, 8, 2, 1, [])


def test_a_stream_of_one_code_is_called_constant(tmp_path):
    rows = [CodesRow("a", np.array([[7, 7, 7], [0, 1, 2]], np.int32), 0.06)]
    assert [stream.verdict for stream in look(write_codes(tmp_path, rows=rows)).streams] == ["constant", "ok"]


def test_entropy_of_nothing_is_nothing():
    assert entropy_bits(np.zeros(4, np.int64)) == 0.0
    assert entropy_bits(np.array([1, 1, 1, 1])) == 2.0


def test_durations_fall_into_bins_of_round_width():
    assert duration_histogram([0.5, 1.0, 1.9, 9.0]) == [
        {"from_seconds": float(start), "to_seconds": float(start + 1), "utterances": count}
        for start, count in enumerate([1, 2, 0, 0, 0, 0, 0, 0, 0, 1])
    ]
    assert len(duration_histogram([3600.0 * 9])) <= 13
    assert duration_histogram([]) == []


def test_damage_is_reported_not_hidden(tmp_path):
    write_codes(tmp_path)
    data = (tmp_path / "part-00000.parquet").read_bytes()
    (tmp_path / "part-00000.parquet").write_bytes(data[:-30])
    report = look(tmp_path)
    assert "part-00000.parquet has other bytes than the index says" in report.problems[0]
    assert report.rows == 2


def test_resynthesis_is_what_the_codec_makes_of_the_codes(tmp_path):
    report = look(write_codes(tmp_path / "codes"), resynth=tmp_path / "out", count=0)
    assert (report.resynth.written, report.resynth.empty) == (2, 0)
    wav, rate = audio.read(tmp_path / "out/wav/b.wav")
    expected = ToneCodec().decode(torch.tensor([[[0, 1, 2, 3], [5, 5, 5, 5]]]))[0, :1120]  # 0.07 s, padding cut off
    assert rate == 16_000
    torch.testing.assert_close(wav, expected, rtol=0, atol=2**-15)
    lines = [json.loads(line) for line in (tmp_path / "out/synth.jsonl").read_text().splitlines()]
    assert [(line["id"], line["text"], line["speaker"], line["wav"], line["reason"]) for line in lines] == [
        ("a", "one", "ann", "wav/a.wav", ""),
        ("b", None, "bob", "wav/b.wav", ""),
    ]
    assert [(line["seconds_audio"], line["steps"]) for line in lines] == [(0.08, 4), (0.07, 4)]
    assert set(lines[0]) == {
        "id", "text", "speaker", "reference", "wav", "reason", "seconds_audio", "seconds_wall", "steps"
    }  # fmt: skip


def test_another_speakers_vector_decodes_all(tmp_path):
    write_codes(tmp_path / "codes", VoicedToneCodec, VOICED)
    for name, options in [("own", {}), ("other", {"speaker": "b"})]:
        look(tmp_path / "codes", resynth=tmp_path / name, count=0, **options)
    own, other = (audio.read(tmp_path / name / "wav/a.wav")[0] for name in ("own", "other"))
    torch.testing.assert_close(other, 2 * own, rtol=0, atol=2**-14)  # 0.5 instead of 0.25
    lines = [json.loads(line) for line in (tmp_path / "other/synth.jsonl").read_text().splitlines()]
    assert [line["speaker"] for line in lines] == ["bob", "bob"]


def test_the_draw_is_by_seed(tmp_path):
    rows = [CodesRow(f"u{n:02d}", np.full((2, 2), n, np.int32), 0.04) for n in range(16)]
    write_codes(tmp_path / "codes", rows=rows)
    drawn = []
    for name, seed in [("x", 1), ("y", 1), ("z", 2)]:
        assert look(tmp_path / "codes", resynth=tmp_path / name, count=4, seed=seed).resynth.written == 4
        drawn.append(sorted(path.name for path in (tmp_path / name / "wav").iterdir()))
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_utterance_without_frames_has_no_file_but_a_line(tmp_path):
    rows = [CodesRow("a", np.zeros((2, 0), np.int32), 0.0), CodesRow("b", np.zeros((2, 3), np.int32), 0.06)]
    report = look(write_codes(tmp_path / "codes", rows=rows), resynth=tmp_path / "out", count=0)
    assert (report.resynth.written, report.resynth.empty) == (1, 1)
    first = json.loads((tmp_path / "out/synth.jsonl").read_text().splitlines()[0])
    assert (first["id"], first["wav"], first["reason"]) == ("a", None, "empty")


def test_mistakes_are_user_errors(tmp_path):
    write_codes(tmp_path / "plain")
    with pytest.raises(ConfigError, match="keeps the speaker in its codes"):
        look(tmp_path / "plain", resynth=tmp_path / "out", speaker="b")
    with pytest.raises(ConfigError, match="chooses a voice for --resynth"):
        look(tmp_path / "plain", speaker="b")
    write_codes(tmp_path / "voiced", VoicedToneCodec, VOICED)
    with pytest.raises(FormatError, match="holds no utterance 'nobody'"):
        look(tmp_path / "voiced", resynth=tmp_path / "out", speaker="nobody")
    write_codes(tmp_path / "mixed", ToneCodec, VOICED)
    with pytest.raises(CodecMismatchError, match=r"name: 'tone', 'voiced-tone'"):
        look(tmp_path / "mixed", resynth=tmp_path / "out")


def test_file_names_are_safe_and_stay_different():
    assert file_name("84-121-0000_a.b") == "84-121-0000_a.b"
    names = [file_name(utterance_id) for utterance_id in ("../x", "/x", "_x", "a/x", "a\\x", "a" * 300, "a" * 301)]
    assert len(set(names)) == 7
    assert all("/" not in name and not name.startswith(".") and len(name) < 200 for name in names)


def test_the_command_says_by_its_exit_code_that_codes_are_damaged(tmp_path):
    write_codes(tmp_path)
    assert CliRunner().invoke(command, [str(tmp_path)]).exit_code == 0
    (tmp_path / "part-00000.parquet").unlink()
    done = CliRunner().invoke(command, [str(tmp_path)])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["problems"] == ["part-00000.parquet is missing"]

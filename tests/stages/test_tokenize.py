"""tokenize: codes worked out by hand, failures told, and the same bytes however the run went."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from slmtk import shards
from slmtk.cli.tokenize import command
from slmtk.corpus import CorpusConfig
from slmtk.errors import ConfigError, SlmtkError
from slmtk.stages import tokenize as tokenize_stage
from slmtk.stages.tokenize import TokenizeConfig, default_out
from slmtk.stages.tokenize import parts as tokenize_plan
from tests.helpers.tone_corpus import RATE, TONE, Notebook, contents, run, tones, write_tones

SLOW = "tests.helpers.tone:SlowToneCodec"


def test_rows_hold_the_codes_worked_out_by_hand(tmp_path):
    source = tmp_path / "in"
    (source / "ann").mkdir(parents=True)
    samples = tones([3, 3, 40], [0, 5, 2])
    soundfile.write(source / "ann/a.wav", samples[:-100], RATE, subtype="FLOAT")
    (source / "ann/a.txt").write_text("hello")
    report = run(source, tmp_path / "out")
    (row,) = shards.open_codes(tmp_path / "out").rows()
    # The last frame lacks 100 of 320 samples: its sine's peak in the DFT is 220/320 of 160, -3.3 dB, one level less.
    assert row.codes.tolist() == [[3, 3, 40], [0, 5, 3]]
    assert (row.id, row.text, row.speaker, row.source) == ("a", "hello", "ann", "ann/a.wav")
    assert row.duration == pytest.approx(860 / RATE)
    assert len(row.source_sha1) == 40
    assert (report.encoded, report.failed, report.layout, report.parts) == (1, 0, "folder", 1)
    assert shards.verify(tmp_path / "out") == []


def test_columns_of_a_manifest_are_kept_and_never_shadow_the_formats(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(3200), RATE)
    (tmp_path / "m.tsv").write_text("path\tdnsmos\tduration\na.wav\t3.5\t99\n")
    run(tmp_path / "m.tsv", tmp_path / "out")
    (row,) = shards.open_codes(tmp_path / "out").rows()
    assert row.extra == {"corpus_duration": 99.0, "dnsmos": 3.5}
    assert row.duration == pytest.approx(0.2)


def test_the_bytes_are_the_same_however_many_workers_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenize_plan, "_CHUNK_ROWS", 1)
    source = write_tones(tmp_path / "in", 20)
    options = {"codec": "tests.helpers.tone:UnevenToneCodec", "shard_hours": 0.7 / 3600}
    reports = [run(source, tmp_path / f"out{n}", workers=n, **options) for n in (1, 3)]
    assert contents(tmp_path / "out1") == contents(tmp_path / "out3")
    # By id, the first five have 6, 9, 7, 10 and 8 frames: 40, the first sum to reach 35 (0.7 s); and so on in fives.
    assert reports[0].parts == reports[1].parts == 4
    index = shards.open_codes(tmp_path / "out1").index
    assert [(shard["rows"], shard["frames"]) for shard in index["shards"]] == [(5, 40)] * 4
    rows = list(shards.open_codes(tmp_path / "out1").rows())
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert [row.codes[0, 0] for row in rows] == [int(row.id[-4:]) for row in rows]


def stop_slow_run(source: Path, out: Path, hours: float, sent: signal.Signals, parts: int) -> tuple[int, str]:
    """Start `slmtk tokenize`, send it a signal when ``parts`` are there; return its exit code and stderr."""
    arguments = [sys.executable, "-m", "slmtk", "tokenize", str(source), str(out), "--codec", SLOW, "--workers", "2"]
    arguments += ["--device", "cpu", "--shard-hours", str(hours)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob("part-*.parquet"))) < parts and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(sent)
    # stderr is at its end when no worker holds it any longer.
    return process.wait(30), process.stderr.read()


def test_a_run_that_was_killed_ends_with_the_same_bytes(tmp_path):
    source, out, hours = write_tones(tmp_path / "in", 60), tmp_path / "broken", 0.7 / 3600
    assert stop_slow_run(source, out, hours, signal.SIGKILL, 4)[0] == -signal.SIGKILL
    found = len(list(out.glob("part-*.parquet")))
    assert 4 <= found < 12
    with pytest.raises(SlmtkError, match="unfinished"):
        shards.open_codes(out)
    (out / ".part-00009.parquet.1234.tmp").write_text("half written by a killed run")
    notebook = Notebook()
    report = run(source, out, notebook, codec=TONE, shard_hours=hours)
    assert f"{found} of 12 parts are there already" in notebook.lines
    assert (report.parts, report.parts_reused) == (12, found)
    run(source, tmp_path / "whole", codec=TONE, shard_hours=hours)
    broken, whole = contents(out), contents(tmp_path / "whole")
    assert broken == whole
    assert shards.verify(out) == []


@pytest.mark.slow
def test_a_run_ends_cleanly_on_ctrl_c(tmp_path):
    out = tmp_path / "out"
    code, stderr = stop_slow_run(write_tones(tmp_path / "in", 60), out, 0.7 / 3600, signal.SIGINT, 1)
    assert code == 130
    assert "Traceback" not in stderr
    assert 1 <= len(list(out.glob("part-*.parquet"))) < 12


def test_a_codec_that_never_uses_a_gpu_runs_in_worker_processes_beside_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenize_stage, "resolve_device", lambda name: "cuda:0")
    source = write_tones(tmp_path / "in", 2)
    # Audio that is moved to a GPU raises here, and so every input fails.
    assert run(source, tmp_path / "out", codec="tests.helpers.tone:CpuToneCodec").failed == 0
    with pytest.raises(SlmtkError, match="all 2 inputs failed"):
        run(source, tmp_path / "out2")


def test_nothing_is_done_twice(tmp_path):
    source = write_tones(tmp_path / "in", 6)
    first = run(source, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    again = run(source, tmp_path / "out")
    assert (first.parts_reused, again.parts_reused, again.times_real_time) == (0, 1, None)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")} == before


def test_a_damaged_part_is_made_again(tmp_path):
    source = write_tones(tmp_path / "in", 6)
    run(source, tmp_path / "out")
    whole = contents(tmp_path / "out")
    (tmp_path / "out/part-00000.parquet").write_bytes(whole["part-00000.parquet"][:-50])
    assert run(source, tmp_path / "out").parts_reused == 0
    assert contents(tmp_path / "out") == whole


def test_a_part_of_another_run_is_made_again(tmp_path):
    source = write_tones(tmp_path / "in", 6)
    run(source, tmp_path / "first")
    (source / "s0/1/s0-1.trans.txt").write_text("s0-1-0000 CHANGED\n")
    run(source, tmp_path / "second")
    whole = contents(tmp_path / "second")
    (tmp_path / "second/part-00000.parquet").write_bytes((tmp_path / "first/part-00000.parquet").read_bytes())
    assert run(source, tmp_path / "second").parts_reused == 0
    assert contents(tmp_path / "second") == whole


def test_another_codec_option_or_corpus_is_refused_with_the_difference(tmp_path):
    source = write_tones(tmp_path / "in", 3)
    run(source, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"shard_hours was 4.0, is 2.0; use another OUT, or --overwrite"):
        run(source, tmp_path / "out", shard_hours=2.0)
    with pytest.raises(ConfigError, match=r"codec.name was 'tone', is 'voiced-tone'; .*codec.speaker_dim was 0, is 1"):
        run(source, tmp_path / "out", codec="tests.helpers.tone:VoicedToneCodec")
    write_tones(source / "more", 1)
    with pytest.raises(SlmtkError, match="two utterances have the id"):
        run(source, tmp_path / "out")
    (source / "more").rename(tmp_path / "elsewhere")
    (source / "s0/1/s0-1.trans.txt").write_text("")
    with pytest.raises(ConfigError, match=r"inputs.digest was"):
        run(source, tmp_path / "out")
    assert run(source, tmp_path / "out", overwrite=True).encoded == 3


def test_a_folder_with_parts_of_somebody_else_is_left_alone(tmp_path):
    source = write_tones(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/part-00000.parquet").write_text("mine")
    with pytest.raises(ConfigError, match="did not write; use another OUT"):
        run(source, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; expected a folder"):
        run(source, tmp_path / "file")


def write_bad_ones(root: Path) -> None:
    soundfile.write(root / "nan.wav", np.full(3200, np.nan), RATE, subtype="FLOAT")
    soundfile.write(root / "none.wav", np.zeros(0), RATE)
    (root / "nil.wav").write_bytes(b"")
    (root / "text.mp3").write_text("not sound")
    soundfile.write(root / "whole.flac", np.random.default_rng(0).normal(size=32_000) / 9, RATE)
    (root / "half.flac").write_bytes((root / "whole.flac").read_bytes()[:20_000])
    (root / "whole.flac").unlink()


def test_inputs_that_fail_are_told_and_hinder_nobody(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    write_bad_ones(source)
    soundfile.write(source / "brief.wav", tones([5, 6, 7], [1, 1, 1])[:800], RATE)  # 0.05 s
    soundfile.write(source / "loud.wav", 8 * tones([5], [0]), RATE, subtype="FLOAT")
    soundfile.write(source / "stereo.wav", np.stack([tones([9] * 5, [0] * 5)] * 2, 1), 2 * RATE, subtype="PCM_24")
    notebook = Notebook()
    report = run(source, tmp_path / "out", notebook)
    rows = {row.id: row.codes for row in shards.open_codes(tmp_path / "out").rows()}
    assert {name: codes.shape[1] for name, codes in rows.items()} == {"brief": 3, "loud": 1, "stereo": 3}
    assert rows["brief"][0, :2].tolist() == [5, 6]
    assert rows["loud"].tolist() == [[5], [0]]
    assert rows["stereo"][0, 1] == 19  # 1 kHz read at half its rate is 2 kHz at 16 kHz: code 19
    failures = [json.loads(line) for line in (tmp_path / "out/errors.jsonl").read_text().splitlines()]
    assert [(failure["id"], failure["path"], failure["kind"]) for failure in failures] == [
        ("half", "half.flac", "truncated"),
        ("nan", "nan.wav", "nan"),
        ("nil", "nil.wav", "empty"),
        ("none", "none.wav", "empty"),
        ("text", "text.mp3", "unreadable"),
    ]
    assert (report.failed, report.failures) == (5, {"empty": 2, "nan": 1, "truncated": 1, "unreadable": 1})
    assert sum(line.startswith("failed: ") for line in notebook.lines) == 5
    assert shards.verify(tmp_path / "out") == []
    again = run(source, tmp_path / "out")
    assert (again.parts_reused, again.failed) == (1, 5)


def test_what_a_codecs_library_raises_is_a_failure_of_that_input(tmp_path):
    source = write_tones(tmp_path / "in", 2)
    soundfile.write(source / "s0/1/long.flac", np.zeros(20_000), RATE)
    report = run(source, tmp_path / "out", codec="tests.helpers.tone:PickyToneCodec")
    assert (report.encoded, report.failures) == (2, {"codec": 1})
    (failure,) = map(json.loads, (tmp_path / "out/errors.jsonl").read_text().splitlines())
    assert failure["message"] == "RuntimeError: too long for this codec"


def test_if_everything_fails_nothing_is_left_but_the_reasons(tmp_path):
    (tmp_path / "in").mkdir()
    write_bad_ones(tmp_path / "in")
    with pytest.raises(SlmtkError, match=r"all 5 inputs failed, the first: .*half.flac"):
        run(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["errors.jsonl"]


def test_a_worker_that_dies_is_told_with_what_it_was_at(tmp_path):
    source = write_tones(tmp_path / "in", 10)
    soundfile.write(source / "s2/1/zz.flac", np.zeros(20_000), RATE)
    with pytest.raises(
        SlmtkError, match=r"died \(signal SIGKILL.*\) while encoding zz; 2 of 3 parts are finished and kept"
    ):
        run(source, tmp_path / "out", codec="tests.helpers.tone:FatalToneCodec", shard_hours=0.7 / 3600)
    assert sorted(path.name for path in (tmp_path / "out").glob("part-*")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]


@pytest.mark.slow
def test_an_hour_in_one_file_is_one_utterance(tmp_path):
    (tmp_path / "in").mkdir()
    minute = tones([7] * 3000, [1] * 3000)
    with soundfile.SoundFile(tmp_path / "in/hour.flac", "w", RATE, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    report = run(tmp_path / "in", tmp_path / "out")
    (row,) = shards.open_codes(tmp_path / "out").rows()
    assert (report.hours, row.codes.shape) == (1.0, (2, 180_000))
    assert (row.codes == [[7], [1]]).all()


def test_the_output_has_a_sensible_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fsdd").mkdir()
    for name in ("fsdd/metadata.tsv", "fsdd/train.tsv"):
        (tmp_path / name).write_text("")
    assert default_out("fsdd", "world") == Path("world-codes/fsdd")
    assert default_out("fsdd/metadata.tsv", "world") == Path("world-codes/fsdd")
    assert default_out("fsdd/train.tsv", "a.b:C") == Path("a-b-C-codes/train")
    assert default_out("owner/name", "world") == Path("world-codes/name")


def test_wrong_numbers_are_user_errors():
    with pytest.raises(ConfigError, match="must be positive"):
        TokenizeConfig(codec=TONE, workers=0)
    with pytest.raises(ConfigError, match="no corpus layout"):
        CorpusConfig(layout="?")


@pytest.mark.data
def test_real_speech_is_tokenized_without_a_failure(shared_data, tmp_path):
    report = run(shared_data / "read_speech" / "1089", tmp_path / "out")
    assert (report.encoded, report.failed, report.layout) == (4, 0, "librispeech")


def test_the_command_says_by_its_exit_code_that_inputs_failed(tmp_path):
    source = write_tones(tmp_path / "in", 2)
    (source / "s0/1/s0-1-zz.flac").write_bytes(b"")
    arguments = [str(source), str(tmp_path / "out"), "--codec", TONE, "--device", "cpu", "--workers", "1"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 3
    assert json.loads(done.stdout)["failures"] == {"empty": 1}
    (source / "s0/1/s0-1-zz.flac").unlink()
    assert CliRunner().invoke(command, [*arguments, "--overwrite"]).exit_code == 0

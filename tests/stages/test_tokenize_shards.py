"""tokenize --shard-id --num-shards: the bytes of one run, in any order, at the same time, or again."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from slmtk import shards
from slmtk.cli.tokenize import command
from slmtk.errors import ConfigError, SlmtkError
from slmtk.stages.tokenize import TokenizeConfig
from tests.helpers.tone_corpus import (
    FIVE_A_PART,
    TONE,
    Notebook,
    compute_in_this_process,
    contents,
    run,
    write_tones,
)


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """A corpus of 30 recordings of which two cannot be read, and all of it in one run: 7 parts."""
    compute_in_this_process(monkeypatch)
    source = write_tones(tmp_path / "in", 30)
    for name in ("s0/1/s0-1-bad.flac", "s2/1/s2-1-bad.flac"):
        (source / name).write_bytes(b"no sound")
    report = run(source, tmp_path / "whole", shard_hours=FIVE_A_PART)
    assert (report.parts, report.encoded, report.failed, report.finished) == (7, 30, 2, True)
    return source, tmp_path / "whole"


def part(source, out, shard_id, num_shards, **options):
    return run(source, out, shard_hours=FIVE_A_PART, shard_id=shard_id, num_shards=num_shards, **options)


def test_the_last_shard_writes_the_index_and_the_bytes_are_those_of_one_run(tmp_path, whole):
    source, expected = whole
    out, notebook = tmp_path / "out", Notebook()
    reports = [part(source, out, shard_id, 3, progress=notebook) for shard_id in (2, 0)]
    assert [(report.parts, report.finished) for report in reports] == [(2, False), (3, False)]
    assert sorted(path.name for path in out.glob("part-*")) == [f"part-0000{n}.parquet" for n in (0, 2, 3, 5, 6)]
    with pytest.raises(SlmtkError, match="unfinished"):
        shards.open_codes(out)
    assert any("5 of 7 parts are other shards' and not there yet" in line for line in notebook.lines)
    last = part(source, out, 1, 3)
    assert (last.parts, last.finished) == (2, True)
    assert sum(report.encoded for report in (*reports, last)) == 30
    assert contents(out) == contents(expected)
    failures = [json.loads(line)["id"] for line in (out / "errors.jsonl").read_text().splitlines()]
    assert failures == ["s0-1-bad", "s2-1-bad"]


def test_shards_at_the_same_time_do_not_hurt_each_other(tmp_path, whole, monkeypatch):
    source, expected = whole
    write = pyarrow.parquet.write_table

    def write_slowly(*args, **options):
        write(*args, **options)
        time.sleep(0.2)

    monkeypatch.setattr(pyarrow.parquet, "write_table", write_slowly)
    # Threads of one process have one process id, as processes in containers on several machines may have.
    with ThreadPoolExecutor(5) as threads:
        # One was started again though it had not ended, and writes the same part at the same time.
        runs = [threads.submit(part, source, tmp_path / "out", shard_id, 4) for shard_id in (2, 2, 0, 1, 3)]
        reports = [run.result() for run in runs]
    assert any(report.finished for report in reports)
    assert contents(tmp_path / "out") == contents(expected)


def test_a_folder_that_another_run_deletes_meanwhile_is_no_matter(tmp_path, whole, monkeypatch):
    source, expected = whole
    out = tmp_path / "out"
    part(source, out, 0, 2)
    other = out / ".shard-0-of-2-other"
    other.mkdir()
    listed = Path.iterdir

    def deleted_before_it_is_listed(path):
        if path == other:
            other.rmdir()
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", deleted_before_it_is_listed)
    part(source, out, 1, 2)
    assert not other.exists()
    assert contents(out) == contents(expected)


def test_any_run_that_finds_all_parts_writes_the_index(tmp_path, whole):
    source, expected = whole
    out = tmp_path / "out"
    for shard_id in range(2):
        part(source, out, shard_id, 2)
    (out / "slmtk.json").unlink()
    (out / "errors.jsonl").unlink()
    again = part(source, out, 0, 2)
    assert (again.parts_reused, again.finished, again.times_real_time) == (4, True, None)
    assert contents(out) == contents(expected)
    (out / "slmtk.json").unlink()
    assert run(source, out, shard_hours=FIVE_A_PART).parts_reused == 7
    assert contents(out) == contents(expected)


def test_more_shards_than_parts(tmp_path, whole):
    source, expected = whole
    out = tmp_path / "out"
    idle = part(source, out, 8, 9)
    assert (idle.parts, idle.encoded, idle.hours, idle.megabytes_per_hour, idle.finished) == (0, 0, 0, None, False)
    for shard_id in range(7):
        part(source, out, shard_id, 9)
    assert contents(out) == contents(expected)


def test_half_written_files_go_if_they_are_old_and_nobodys(tmp_path, whole):
    source, _ = whole
    out = tmp_path / "out"
    part(source, out, 0, 2)
    for name, age in ((".shard-1-of-2-00000000", 60), (".shard-0-of-2-11111111", 60), (".shard-0-of-2-22222222", -60)):
        (out / name).mkdir()
        (out / name / ".part-00001.parquet.1.tmp").write_text("half")
        for path in (out / name / ".part-00001.parquet.1.tmp", out / name):
            os.utime(path, (time.time() - age,) * 2)
    part(source, out, 0, 2)
    # Shard 0 deletes its own remains, not what is being written, nor what another shard may yet need.
    assert sorted(path.name for path in out.glob(".shard*")) == [".shard-0-of-2-22222222", ".shard-1-of-2-00000000"]
    part(source, out, 1, 2)
    assert [path.name for path in out.glob(".shard*")] == [".shard-0-of-2-22222222"]


def test_a_shard_of_another_run_is_refused(tmp_path, whole):
    source, _ = whole
    part(source, tmp_path / "out", 0, 2)
    with pytest.raises(ConfigError, match=r"shard_hours was .*, is 4.0; use another OUT"):
        run(source, tmp_path / "out", shard_id=1, num_shards=2)


def test_if_all_inputs_of_all_shards_fail_the_last_one_says_so(tmp_path, monkeypatch):
    compute_in_this_process(monkeypatch)
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / f"in/{name}.wav").write_bytes(b"no sound")
    assert part(tmp_path / "in", tmp_path / "out", 1, 2).finished is False
    with pytest.raises(SlmtkError, match=r"all 3 inputs failed, the first: .*a.wav"):
        part(tmp_path / "in", tmp_path / "out", 0, 2)
    assert list(contents(tmp_path / "out")) == ["errors.jsonl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_id": 0}, "--shard-id and --num-shards belong together"),
        ({"num_shards": 2}, "--shard-id and --num-shards belong together"),
        ({"shard_id": 2, "num_shards": 2}, r"--shard-id 2 must be one of 0 .. 1"),
        ({"shard_id": 0, "num_shards": 2, "overwrite": True}, "would delete what other shards have made"),
        ({"max_seconds": 0.5}, "--max-seconds 0.5 must be 1 or more"),
        ({"batch_seconds": -1.0}, "--batch-seconds -1.0 must be 0"),
        ({"engine": "slurm"}, "no engine 'slurm'; expected one of local, ray"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TokenizeConfig(codec=TONE, **options)


def test_the_command_hands_its_options_on(tmp_path, whole):
    source, _ = whole
    out, hours = str(tmp_path / "out"), str(FIVE_A_PART)
    options = ["--codec", TONE, "--shard-hours", hours, "--max-seconds", "5", "--batch-seconds", "0.5", "--json"]
    options += ["--num-shards", "2", "--engine", "local"]
    # By id the unreadable ones are the 11th and the 32nd: parts 2 and 6, both of shard 0.
    for shard_id, finished, status in ((0, False, 3), (1, True, 0)):
        done = CliRunner().invoke(command, [str(source), out, *options, "--shard-id", str(shard_id)])
        assert done.exit_code == status
        assert json.loads(done.stdout)["finished"] is finished
    assert shards.open_codes(tmp_path / "out").index["config"]["max_seconds"] == 5.0

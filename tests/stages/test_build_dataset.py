from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.data.dataset import open_dataset
from slmtk.data.filters import FilterConfig
from slmtk.data.splits import SplitConfig
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.progress import SilentProgress
from slmtk.shards import CodesRow, write_index, write_shard
from slmtk.spec import CodecSpec, Stream
from slmtk.stages import build_dataset as stage
from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset

SPEC = CodecSpec("two", 16_000, 200, (Stream("a", 8), Stream("b", 4)), speaker_dim=3)
ALL_TRAIN = SplitConfig(dev_fraction=0.0)


def make_row(name: str, text: str | None = "HELLO there", seconds: float = 1.0, **values: object) -> CodesRow:
    random = np.random.default_rng(sum(name.encode()))
    frames = round(seconds * 80)
    codes = np.stack([random.integers(0, 8, frames), random.integers(0, 4, frames)]).astype(np.int32)
    speaker, extra = values.get("speaker", "s0"), values.get("extra", {})
    vector = random.normal(size=3).astype(np.float32)
    return CodesRow(name, codes, seconds, text, speaker, speaker_vector=vector, extra=extra)  # type: ignore[arg-type]


def write_codes(folder: Path, rows: list[CodesRow], spec: CodecSpec = SPEC) -> Path:
    info = write_shard(folder / "part-00000.parquet", spec, rows)
    write_index(folder, spec, {}, "fp", [info], 0)
    return folder


def build(sources: list[Path], out: Path, **settings: object):
    config = BuildDatasetConfig(**{"split": ALL_TRAIN, **settings})  # type: ignore[arg-type]
    return build_dataset(sources, out, config, SilentProgress())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_codes_and_normalised_text_arrive_unchanged(tmp_path: Path):
    rows = [make_row("a", "HELLO there "), make_row("b", "Two", 2.0)]
    build([write_codes(tmp_path / "codes", rows)], tmp_path / "set")
    made = list(open_dataset(tmp_path / "set").rows("train"))
    assert [row.text for row in made] == ["Hello there", "Two"]
    assert [row.num_text_tokens for row in made] == [11, 3]
    for row, source in zip(made, rows, strict=True):
        np.testing.assert_array_equal(row.codes, source.codes)
        np.testing.assert_array_equal(row.speaker_vector, source.speaker_vector)
        assert (row.id, row.speaker, row.task, row.question) == (source.id, "s0", "tts", None)


def test_every_row_left_out_is_counted_and_named(tmp_path: Path):
    rows = [
        make_row("good", extra={"mos": 4.0}),
        make_row("mute", None, extra={"mos": 4.0}),
        make_row("blank", "  ", extra={"mos": 4.0}),
        make_row("short", seconds=0.25, extra={"mos": 4.0}),
        make_row("noisy", seconds=2.0, extra={"mos": 3.0}),
    ]
    codes = write_codes(tmp_path / "codes", rows)
    report = build([codes], tmp_path / "set", filters=FilterConfig(minimums=(("mos", 3.5),)))
    assert report.dropped == {
        "mos below 3.5": {"rows": 1, "seconds": 2.0},
        "no text": {"rows": 2, "seconds": 2.0},
        "shorter than 0.3 s": {"rows": 1, "seconds": 0.25},
    }
    assert (report.rows_read, report.rows_kept, report.rows_dropped) == (5, 1, 4)
    named = [json.loads(line) for line in (tmp_path / "set" / "dropped.jsonl").read_text().splitlines()]
    assert [(line["id"], line["reason"]) for line in named] == [
        ("mute", "no text"),
        ("blank", "no text"),
        ("short", "shorter than 0.3 s"),
        ("noisy", "mos below 3.5"),
    ]
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| no text | 2 | 2.0 |" in card


def test_codes_of_no_frames_are_left_out_by_name(tmp_path: Path):
    empty = dataclasses.replace(make_row("empty"), codes=np.zeros((2, 0), np.int32))
    report = build([write_codes(tmp_path / "codes", [empty, make_row("good")])], tmp_path / "set")
    assert report.dropped == {"no codes": {"rows": 1, "seconds": 1.0}}


def test_questions_make_answers_of_their_utterances(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a"), make_row("b", "PARIS")])
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"id": "b", "question": "Capital of France?"}\n')
    report = build([codes], tmp_path / "set", questions=questions)
    assert report.tasks == ["qa", "tts"]
    rows = list(open_dataset(tmp_path / "set").rows("train"))
    assert [(row.task, row.question, row.text) for row in rows] == [
        ("tts", None, "Hello there"),
        ("qa", "Capital of France?", "Paris"),
    ]
    assert rows[1].num_text_tokens == 18 + 5
    questions.write_text('{"id": "c", "question": "Capital of France?"}\n')
    with pytest.raises(ConfigError, match="'c'"):
        build([codes], tmp_path / "other", questions=questions)


def test_folders_of_codes_are_merged_in_the_order_given(tmp_path: Path):
    first = write_codes(tmp_path / "1", [make_row("b"), make_row("c")])
    second = write_codes(tmp_path / "2", [make_row("a", extra={"mos": 1.0})])
    build([first, second], tmp_path / "set")
    assert [row.id for row in open_dataset(tmp_path / "set").rows("train")] == ["b", "c", "a"]


def test_an_id_in_two_folders_is_refused_by_name(tmp_path: Path):
    first, second = (write_codes(tmp_path / name, [make_row("a")]) for name in "12")
    with pytest.raises(FormatError, match=r"utterance 'a' is in .*1 and again in .*2"):
        build([first, second], tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_codes_of_two_codecs_are_refused_with_the_difference(tmp_path: Path):
    other = dataclasses.replace(SPEC, revision="v2")
    first, second = write_codes(tmp_path / "1", [make_row("a")]), write_codes(tmp_path / "2", [make_row("b")], other)
    with pytest.raises(CodecMismatchError, match="revision: '', 'v2'"):
        build([first, second], tmp_path / "set")


def test_a_code_out_of_its_streams_range_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = make_row("a")
    row.codes[1, 3] = 4  # stream b has codes 0..3; as an id, 4 would be <eosp>
    monkeypatch.setattr("slmtk.shards.writer.check_row", lambda row, spec: None)
    codes = write_codes(tmp_path / "codes", [make_row("ok"), row])
    with pytest.raises(FormatError, match=r"utterance 'a': stream 'b' holds 0\.\.4, not 0\.\.3"):
        build([codes], tmp_path / "set")
    with pytest.raises(FormatError, match=r"no slmtk\.json"):
        open_dataset(tmp_path / "set")


def test_same_input_gives_the_same_bytes(tmp_path: Path):
    rows = [make_row(f"u{number}", f"Text {number}", 0.5, speaker=f"s{number % 3}") for number in range(30)]
    first, second = write_codes(tmp_path / "1" / "codes", rows), write_codes(tmp_path / "2" / "codes", rows)
    split = SplitConfig(dev_fraction=0.3, test_fraction=0.2)
    build([first], tmp_path / "set", split=split)
    build([second], tmp_path / "again", split=split)
    assert contents(tmp_path / "set") == contents(tmp_path / "again")
    assert {"train-00000.parquet", "dev-00000.parquet", "test-00000.parquet"} < set(contents(tmp_path / "set"))


def test_new_rows_leave_old_ones_in_their_split(tmp_path: Path):
    rows = [make_row(f"u{number}", seconds=0.5) for number in range(40)]
    split = SplitConfig(dev_fraction=0.3)
    build([write_codes(tmp_path / "1", rows[::2])], tmp_path / "small", split=split)
    build([write_codes(tmp_path / "2", rows)], tmp_path / "large", split=split)
    small = {row.id for row in open_dataset(tmp_path / "small").rows("dev")}
    large = {row.id for row in open_dataset(tmp_path / "large").rows("dev")}
    assert small == large & {row.id for row in rows[::2]}


@pytest.mark.parametrize("by", ["speaker", "text"])
def test_what_must_stay_together_does(tmp_path: Path, by: str):
    rows = [make_row(f"u{n}", f"Text {n % 10}", 0.5, speaker=f"s{n // 6}") for n in range(60)]
    codes = write_codes(tmp_path / "codes", rows)
    build([codes], tmp_path / "set", split=SplitConfig(by=by, dev_fraction=0.4))
    folder = open_dataset(tmp_path / "set")
    train, dev = ({getattr(row, by) for row in folder.rows(split)} for split in ("train", "dev"))
    assert not train & dev
    assert len(train | dev) == 10


def test_a_row_without_speaker_cannot_be_split_by_speaker(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a", speaker=None)])
    with pytest.raises(ConfigError, match="utterance 'a' has no speaker"):
        build([codes], tmp_path / "set", split=SplitConfig(by="speaker"))


def test_a_split_that_stays_empty_is_said(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    report = build([codes], tmp_path / "set", split=SplitConfig(by="speaker", dev_fraction=0.001))
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("no speaker fell into dev")
    assert open_dataset(tmp_path / "set").splits == ["train"]


def test_nothing_left_is_an_error_with_the_reasons(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a", None), make_row("b", seconds=0.25)])
    with pytest.raises(ConfigError, match=r"1 no text, 1 shorter than 0\.3 s"):
        build([codes], tmp_path / "set")


def test_a_second_run_changes_nothing_and_other_settings_are_refused(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a"), make_row("b", seconds=2.0)])
    first = build([codes], tmp_path / "set")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    second = build([codes], tmp_path / "set")
    assert second == dataclasses.replace(first, up_to_date=True)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    longer = FilterConfig(min_seconds=1.5)
    with pytest.raises(ConfigError, match="--overwrite"):
        build([codes], tmp_path / "set", filters=longer)
    assert build([codes], tmp_path / "set", filters=longer, overwrite=True).rows_kept == 1


def test_an_interrupted_run_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    codes = write_codes(tmp_path / "codes", [make_row("a"), make_row("b")])
    build([codes], tmp_path / "whole")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_text", stop)  # all parts are there, the card and the index are not
        with pytest.raises(KeyboardInterrupt):
            build([codes], tmp_path / "set")
    (tmp_path / "set" / f".train.{os.getpid()}.tmp").write_bytes(b"half")
    (tmp_path / "set" / "train-00007.parquet").write_bytes(b"of a longer run")
    build([codes], tmp_path / "set")
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_a_lost_file_is_built_again(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    build([codes], tmp_path / "set")
    before = contents(tmp_path / "set")
    (tmp_path / "set" / "train-00000.parquet").unlink()
    assert not build([codes], tmp_path / "set").up_to_date
    assert contents(tmp_path / "set") == before


def test_folders_that_are_not_ours_are_left_alone(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my notes")
    with pytest.raises(ConfigError, match="not empty"):
        build([codes], tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "README.md").read_text() == "my notes"
    before = contents(codes)
    with pytest.raises(ConfigError, match="codes itself"):
        build([codes], codes, overwrite=True)
    other = write_codes(tmp_path / "other", [make_row("b")])
    with pytest.raises(ConfigError, match="holds 'codes'"):
        build([codes], other, overwrite=True)
    assert contents(codes) == before


def test_datasets_opens_the_splits_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")
    rows = [make_row(f"u{number}", seconds=0.5) for number in range(20)]
    report = build([write_codes(tmp_path / "codes", rows)], tmp_path / "set", split=SplitConfig(dev_fraction=0.3))
    loaded = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {
        name: stats["rows"] for name, stats in report.splits.items()
    }
    ours = open_dataset(tmp_path / "set").rows("dev")[0]
    theirs = loaded["dev"][0]
    assert theirs["id"] == ours.id
    assert theirs["codes"] == ours.codes.T.reshape(-1).tolist()
    assert theirs["speaker_vector"] == pytest.approx(ours.speaker_vector.tolist())


def test_the_command_reads_options_and_prints_the_report(tmp_path: Path):
    rows = [make_row("a", extra={"mos": 4.0}), make_row("b", "x", extra={"mos": 4.0}), make_row("c", extra={"mos": 1})]
    codes = write_codes(tmp_path / "codes", rows)
    (tmp_path / "set.toml").write_text('min-chars = 5\nmin = ["mos=3.5"]\n')
    options = ["--dev-fraction", "0", "--config", str(tmp_path / "set.toml")]
    result = CliRunner().invoke(cli, ["build-dataset", str(codes), str(tmp_path / "set"), *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["dropped"] == {
        "fewer than 5 characters": {"rows": 1, "seconds": 1.0},
        "mos below 3.5": {"rows": 1, "seconds": 1.0},
    }

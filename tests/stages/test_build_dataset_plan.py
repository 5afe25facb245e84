"""``build-dataset --dry-run``: what can be checked is checked, what is not there yet is said, nothing is written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.data.filters import FilterConfig
from slmtk.errors import CodecMismatchError, ConfigError, FormatError, PluginError
from slmtk.stages.build_dataset.config import BuildDatasetConfig
from slmtk.stages.build_dataset.plan import plan
from tests.stages.test_build_dataset import SPEC, build, make_row, write_codes
from tests.stages.test_build_dataset_tasks import write_texts


def test_what_is_there_is_described_and_what_is_not_is_said(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a", seconds=1800.0)])
    config = BuildDatasetConfig(
        tokenizer="Qwen/Qwen2.5-0.5B",
        tasks=("tts", "asr"),
        texts=(write_texts(tmp_path / "t.jsonl", 4),),
        questions=tmp_path / "q.jsonl",
    )
    made = plan([codes, tmp_path / "later"], tmp_path / "set", config)
    assert made.would_read == (
        f"codes: {codes} (1 utterances, 0.50 h, codec two)",
        f"codes: {tmp_path / 'later'} (not there yet)",
        f"questions: {tmp_path / 'q.jsonl'} (not there yet)",
        f"texts: {tmp_path / 't.jsonl'} (4 texts)",
        "tokenizer: Qwen/Qwen2.5-0.5B (of the hub, unless it is cached)",
    )
    assert made.would_do[0] == "make rows of the tasks tts, asr, qa, text"
    assert not (tmp_path / "set").exists()


def test_mistakes_are_found_without_reading_codes(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a", extra={"mos": 4.0})])
    other = write_codes(tmp_path / "other", [make_row("b")], dataclasses.replace(SPEC, revision="v2"))
    for part in tmp_path.glob("*/part-*.parquet"):
        content = part.read_bytes()
        part.write_bytes(b"PAR1" + b"x" * 100 + content[104:])  # the rows are spoilt, the footer is not
    out, config = tmp_path / "set", BuildDatasetConfig()
    assert plan([codes], out, config).would_write == str(out)
    with pytest.raises(CodecMismatchError):
        plan([codes, other], out, config)
    with pytest.raises(ConfigError, match="did you mean 'mos'"):
        plan([codes], out, BuildDatasetConfig(filters=FilterConfig(minimums=(("moss", 3.0),))))
    with pytest.raises(ConfigError, match="codes itself"):
        plan([codes], codes, config)
    with pytest.raises(PluginError, match="resemblyzer"):
        plan([codes], out, BuildDatasetConfig(speaker_encoder="resembler", audio=("x",)))
    (tmp_path / "t.txt").write_bytes(b"\xff")
    with pytest.raises(FormatError, match="UTF-8"):
        plan([codes], out, BuildDatasetConfig(texts=(tmp_path / "t.txt",)))
    with pytest.raises(FormatError, match=r"no slmtk\.json"):
        plan([tmp_path], out, config)


def test_a_dataset_that_is_there_is_told_of_and_left_alone(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    build([codes], tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    assert "refused, without --overwrite" in plan([codes], tmp_path / "set", BuildDatasetConfig()).would_do[0]
    replaced = plan([codes], tmp_path / "set", BuildDatasetConfig(overwrite=True)).would_do[0]
    assert replaced.endswith("else replaced")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}


def test_the_command_plans_with_all_its_options_before_anything_is_there(tmp_path: Path):
    options = ["--task", "tts", "--task", "asr", "--text", "t.jsonl", "--speaker-encoder", "resemblyzer"]
    options += ["--audio", str(tmp_path / "wav"), "--max-text-tokens", "100", "--min", "mos=3", "--dry-run"]
    result = CliRunner().invoke(cli, ["build-dataset", str(tmp_path / "codes"), str(tmp_path / "set"), *options])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["dry_run"] is True
    assert f"recordings: {tmp_path / 'wav'} (not there yet)" in printed["would_read"]
    assert list(tmp_path.iterdir()) == []


def test_without_dry_run_what_is_not_there_is_wrong_usage(tmp_path: Path):
    result = CliRunner().invoke(cli, ["build-dataset", str(tmp_path / "codes"), str(tmp_path / "set")])
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_the_command_makes_rows_of_several_tasks(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    texts = write_texts(tmp_path / "t.jsonl", 2)
    options = ["--task", "tts", "--task", "asr", "--text", str(texts), "--dev-fraction", "0"]
    result = CliRunner().invoke(cli, ["build-dataset", str(codes), str(tmp_path / "set"), *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["examples"] == {"asr": 1, "text": 2, "tts": 1}


def test_the_tokenizer_is_told_of(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    for name, said in (("bpe:300", "300 tokens made from the texts"), ("phonemes:de", "espeak-ng says them (de)")):
        reads = plan([codes], tmp_path / "set", BuildDatasetConfig(tokenizer=name)).would_read
        assert said in " ".join(reads)

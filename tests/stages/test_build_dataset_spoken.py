"""Questions that are asked aloud: which utterance asks which answer, and what rows come of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.data.dataset import open_dataset
from slmtk.data.filters import FilterConfig
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.stages.build_dataset.config import BuildDatasetConfig
from slmtk.stages.build_dataset.plan import plan
from tests.stages.test_build_dataset import SPEC, build, contents, make_row, write_codes

QUESTIONS = [
    {"id": "b", "question": "Capital of France?", "question_id": "q1"},
    {"id": "c", "question": "And of Italy?"},
    {"id": "d", "question": "Capital of France?", "question_id": "q1"},
]


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    """An utterance that is read and three that are answers."""
    names = {"a": "Hello", "b": "PARIS", "c": "Rome", "d": "paris"}
    return write_codes(tmp_path / "codes", [make_row(name, text) for name, text in names.items()])


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Two questions asked aloud, one of them under the name of its answer, and one that nobody answers."""
    rows = [make_row("q1", "Capital of France?", 0.5), make_row("other", "x"), make_row("c", "And of Italy?", 0.75)]
    return write_codes(tmp_path / "asked", rows)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in QUESTIONS))
    return path


def test_each_answer_has_the_codes_of_its_question(tmp_path: Path, codes: Path, asked: Path, questions: Path):
    report = build([codes], tmp_path / "set", questions=questions, spoken_questions=(asked,))
    assert report.examples == {"qa": 3, "sqa": 3, "tts": 1}
    rows = list(open_dataset(tmp_path / "set").rows("train"))
    assert [(row.id, row.task) for row in rows] == [
        ("a", "tts"),
        *((name, task) for name in "bcd" for task in ("qa", "sqa")),
    ]
    by_id = {row.id: row for row in rows}
    assert by_id["a"].question_codes is None
    for answer, question, seconds in (("b", "q1", 0.5), ("c", "c", 0.75), ("d", "q1", 0.5)):
        np.testing.assert_array_equal(by_id[answer].question_codes, make_row(question, "", seconds).codes)
        np.testing.assert_array_equal(by_id[answer].codes, make_row(answer).codes)
    assert (by_id["c"].question, by_id["c"].text) == ("And of Italy?", "Rome")
    card = (tmp_path / "set" / "README.md").read_text()
    assert "- Tasks: qa (3 rows), sqa (3 rows), tts (1 rows)" in card


def test_tasks_of_answers_are_those_asked_for(tmp_path: Path, codes: Path, asked: Path, questions: Path):
    every = ("sqa-speech", "qa", "qa-speech", "sqa")
    build([codes], tmp_path / "all", questions=questions, spoken_questions=(asked,), answer_tasks=every)
    assert pq.read_table(tmp_path / "all" / "train-00000.parquet")["task"].to_pylist() == [
        "tts",
        *["qa+sqa+qa-speech+sqa-speech"] * 3,
    ]
    build([codes], tmp_path / "one", questions=questions, answer_tasks=("qa-speech",), tasks=("tts", "asr"))
    table = pq.read_table(tmp_path / "one" / "train-00000.parquet")
    assert table["task"].to_pylist() == ["tts+asr", *["qa-speech+asr"] * 3]
    assert "question_codes" not in table.column_names


def test_questions_among_the_codes_themselves_are_found_there(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("q1", "Who?"), make_row("b", "Ada")])
    (tmp_path / "q.jsonl").write_text(json.dumps({"id": "b", "question": "Who?", "question_id": "q1"}))
    build([codes], tmp_path / "set", questions=tmp_path / "q.jsonl", spoken_questions=(codes,), answer_tasks=("sqa",))
    read, answered = open_dataset(tmp_path / "set").rows("train")
    assert (read.id, read.task, answered.id, answered.task) == ("q1", "tts", "b", "sqa")
    np.testing.assert_array_equal(answered.question_codes, read.codes)


def test_the_same_input_gives_the_same_bytes_and_is_not_made_twice(
    tmp_path: Path, codes: Path, asked: Path, questions: Path
):
    settings = {"questions": questions, "spoken_questions": (asked,)}
    build([codes], tmp_path / "one", **settings)
    build([codes], tmp_path / "two", **settings)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert build([codes], tmp_path / "one", **settings, answer_tasks=("sqa", "qa")).up_to_date
    for change in ({"answer_tasks": ("sqa",)}, {"spoken_questions": (), "answer_tasks": ("qa",)}):
        with pytest.raises(ConfigError, match="--overwrite"):
            build([codes], tmp_path / "one", **{**settings, **change})
    lines = [{**line, "question_id": "other"} for line in QUESTIONS]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ConfigError, match="--overwrite"):
        build([codes], tmp_path / "one", **settings)


def test_a_dataset_of_written_questions_is_what_it_was_before_there_were_spoken_ones(
    tmp_path: Path, codes: Path, questions: Path
):
    build([codes], tmp_path / "set", questions=questions)
    index = open_dataset(tmp_path / "set").info
    assert set(index["config"]) == {"tokenizer", "questions", "filters", "split"}
    assert build([codes], tmp_path / "set", questions=questions, answer_tasks=("qa",)).up_to_date


def test_answers_whose_questions_cannot_be_used_are_left_out_by_name(tmp_path: Path, codes: Path, questions: Path):
    empty = dataclasses.replace(make_row("q1"), codes=np.zeros((2, 0), np.int32))
    asked = write_codes(tmp_path / "asked", [empty, make_row("c", seconds=1.5)])
    limits = FilterConfig(max_seconds=1.0)
    report = build([codes], tmp_path / "set", questions=questions, spoken_questions=(asked,), filters=limits)
    assert report.dropped == {
        "no codes of the question": {"rows": 2, "seconds": 2.0},
        "question longer than 1 s": {"rows": 1, "seconds": 1.0},
    }


def test_missing_double_foreign_and_damaged_questions_are_refused(
    tmp_path: Path, codes: Path, asked: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(error: type[Exception], match: str, *folders: Path) -> None:
        with pytest.raises(error, match=match):
            build([codes], tmp_path / "set", questions=questions, spoken_questions=folders)
        assert not (tmp_path / "set").exists()

    few = write_codes(tmp_path / "few", [make_row("other")])
    refuse(ConfigError, r"no codes of 2 questions: 'c', 'q1'; name each one's utterance as question_id", few)
    twice = write_codes(tmp_path / "twice", [make_row("c")])
    refuse(FormatError, "spoken question 'c' is twice", asked, twice)
    other = write_codes(tmp_path / "other", [make_row("c")], dataclasses.replace(SPEC, revision="v2"))
    refuse(CodecMismatchError, "revision", other)
    refuse(FormatError, r"no slmtk\.json", tmp_path)
    wrong = dataclasses.replace(make_row("c"), codes=np.full((2, 9), 7, np.int32))
    with monkeypatch.context() as patch:
        patch.setattr("slmtk.shards.writer.check_row", lambda row, spec: None)
        spoilt = write_codes(tmp_path / "wrong", [make_row("q1"), wrong])
    refuse(FormatError, r"utterance 'c': stream 'b' holds 7\.\.7", spoilt)
    with pytest.raises(ConfigError, match="codes itself"):
        build([codes], asked, questions=questions, spoken_questions=(asked,))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"spoken_questions": (Path("x"),)}, "--spoken-questions is for answers; name what they answer"),
        ({"answer_tasks": ("qa",)}, "--answer-task is for answers"),
        ({"questions": Path("q"), "answer_tasks": ("qa", "sqa")}, "needs questions that are asked aloud"),
        ({"questions": Path("q"), "answer_tasks": ("asr",)}, "expected some of qa, sqa, qa-speech, sqa-speech"),
        ({"questions": Path("q"), "answer_tasks": ("qa", "qa")}, "each once"),
        (
            {"questions": Path("q"), "spoken_questions": (Path("x"),), "answer_tasks": ("qa",)},
            "not heard in --answer-task qa; add sqa or sqa-speech",
        ),
    ],
)
def test_tasks_without_what_they_need_are_refused(settings: dict[str, object], match: str):
    with pytest.raises(ConfigError, match=match):
        BuildDatasetConfig(**settings)


def test_a_dry_run_says_what_would_be_heard(tmp_path: Path, codes: Path, asked: Path, questions: Path):
    config = BuildDatasetConfig(questions=questions, spoken_questions=(asked, tmp_path / "later"))
    made = plan([codes], tmp_path / "set", config)
    assert f"spoken questions: {asked} (3 utterances, 0.00 h, codec two)" in made.would_read
    assert f"spoken questions: {tmp_path / 'later'} (not there yet)" in made.would_read
    assert made.would_do[0] == "make rows of the tasks tts, qa, sqa"
    other = write_codes(tmp_path / "other", [make_row("c")], dataclasses.replace(SPEC, revision="v2"))
    with pytest.raises(CodecMismatchError):
        plan([codes], tmp_path / "set", dataclasses.replace(config, spoken_questions=(other,)))


def test_the_command_makes_answers_to_spoken_questions(tmp_path: Path, codes: Path, asked: Path, questions: Path):
    options = ["--questions", str(questions), "--spoken-questions", str(asked), "--dev-fraction", "0"]
    options += ["--answer-task", "sqa", "--answer-task", "sqa-speech"]
    result = CliRunner().invoke(cli, ["build-dataset", str(codes), str(tmp_path / "set"), *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["examples"] == {"sqa": 3, "sqa-speech": 3, "tts": 1}

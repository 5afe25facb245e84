from __future__ import annotations

from pathlib import Path

import pytest

from slmtk.data.questions import Question, check_questions, read_questions
from slmtk.errors import ConfigError, FormatError


def test_questions_are_read_by_utterance(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "a", "question": " Who? ", "more": 1}\n\n{"id": "b", "question": "Où\u2028là?"}\n')
    assert read_questions(path) == {"a": Question("Who?"), "b": Question("Où\u2028là?")}


def test_a_line_may_name_the_utterance_that_asks_aloud(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "a", "question": "Who?", "question_id": "q1"}\n{"id": "b", "question": "Who?"}\n')
    assert read_questions(path) == {"a": Question("Who?", "q1"), "b": Question("Who?", None)}
    path.write_text('{"id": "a", "question": "Who?", "question_id": 7}\n')
    with pytest.raises(FormatError, match="line 1: question_id is 7; expected the id"):
        read_questions(path)


@pytest.mark.parametrize(
    "line", ["who?", "[]", '{"id": "a"}', '{"id": 3, "question": "Who?"}', '{"id": "a", "question": " "}']
)
def test_a_bad_line_is_named_by_number(tmp_path: Path, line: str):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "ok", "question": "Who?"}\n' + line + "\n")
    with pytest.raises(FormatError, match="line 2"):
        read_questions(path)


def test_two_questions_for_one_utterance_are_refused(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "a", "question": "Who?"}\n' * 2)
    with pytest.raises(FormatError, match="line 2: a second question for utterance 'a'"):
        read_questions(path)


def test_questions_without_utterance_are_an_error_that_names_some():
    questions = {f"x{number}": "Who?" for number in range(7)}
    with pytest.raises(ConfigError, match=r"6 questions.*'x1', 'x2', 'x3', 'x4', 'x5' and 1 more"):
        check_questions(questions, {"x0"})
    check_questions(questions, questions)

"""A file of questions: which utterances of the codes are spoken answers, and to what."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.errors import ConfigError, FormatError

_NAMED = 5


@dataclass(frozen=True)
class Question:
    """What an utterance answers.

    Attributes:
        text: in writing, stripped.
        spoken: id of the utterance that asks it aloud, None if the file names none.
    """

    text: str
    spoken: str | None = None


def read_questions(path: Path) -> dict[str, Question]:
    """Read lines ``{"id": utterance, "question": text}``, with a ``question_id`` where the spoken question has one.

    Further keys are ignored, so are empty lines.

    Returns:
        Question by the id of the utterance that answers it.

    Raises:
        FormatError: a line is something else, or an id occurs twice.
    """
    questions: dict[str, Question] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, question = _read_line(line, f"{path} line {number}")
        if name in questions:
            raise FormatError(f"{path} line {number}: a second question for utterance {name!r}; one each, please")
        questions[name] = question
    return questions


def _read_line(line: str, where: str) -> tuple[str, Question]:
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise FormatError(f"{where} is not JSON: {error}") from error
    name, question = (values.get("id"), values.get("question")) if isinstance(values, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(question, str) or not question.strip():
        raise FormatError(f'{where}: expected {{"id": utterance, "question": text}}, found {line.strip()[:200]}')
    spoken = values.get("question_id")
    if spoken is not None and (not isinstance(spoken, str) or not spoken):
        raise FormatError(f"{where}: question_id is {spoken!r}; expected the id of the utterance that asks aloud")
    return name, Question(question.strip(), spoken)


def check_questions(questions: Iterable[str], ids: Collection[str]) -> None:
    """Refuse questions whose utterance is not in the codes.

    Raises:
        ConfigError: names some of them.
    """
    missing = [name for name in questions if name not in ids]
    if missing:
        raise ConfigError(f"{len(missing)} questions are for utterances that the codes do not have: {some_of(missing)}")


def some_of(names: Sequence[str]) -> str:
    """The first five of ``names``, and how many more there are."""
    named = ", ".join(repr(name) for name in names[:_NAMED])
    return named + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")

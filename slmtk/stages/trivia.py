"""The benchmark's questions: a jsonl file -> what is asked, in whose voice it is answered, and what counts as right."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from slmtk.errors import ConfigError, FormatError


@dataclass(frozen=True)
class Columns:
    """Names of a questions file's columns; ``id``, ``role`` and ``split`` may be absent from the file."""

    question: str = "question"
    """What is asked."""
    answers: str = "answers"
    """All that is right: a list of texts, or one text."""
    reference: str = "reference"
    """Recording of the role's voice; a relative path is taken from the file's folder."""
    role: str = "role"
    """Who answers; without it, the reference's file name."""
    split: str = "split"
    """Group that is scored by itself; without it, "all"."""
    id: str = "id"
    """Name of the answer's files; without it, the file's name and the row's number."""


@dataclass(frozen=True)
class Question:
    """One row of a questions file; the fields are those of `Columns`."""

    id: str
    question: str
    answers: tuple[str, ...]
    role: str
    reference: Path
    split: str


def read_trivia(path: Path, columns: Columns | None = None, limit: int | None = None) -> list[Question]:
    """Read the questions.

    Args:
        path: jsonl, one object a line; further columns are ignored.
        columns: their names.
        limit: take the first so many of each split, at most.

    Raises:
        ConfigError: ``limit`` is less than 1.
        FormatError: not such a file, a column is missing (the error lists those that are there), an id occurs twice or
            cannot name a file, or a reference is not there.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit {limit}: expected 1 or more questions a split")
    names = columns or Columns()
    questions: list[Question] = []
    taken: dict[str, int] = {}
    seen: set[str] = set()
    for number, record in enumerate(_records(path), 1):
        question = _question(record, path, number, names)
        if question.id in seen:
            raise FormatError(f"{path}: the id {question.id!r} occurs twice; ids name the answers' files")
        seen.add(question.id)
        taken[question.split] = taken.get(question.split, 0) + 1
        if limit is None or taken[question.split] <= limit:
            questions.append(question)
    if not questions:
        raise FormatError(f"{path} holds no question; expected one JSON object a line")
    return questions


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as UTF-8 text: {error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise FormatError(f"{path} line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise FormatError(f"{path} line {number} is not a JSON object: {line[:100]}")
        records.append(record)
    return records


def _question(record: Mapping[str, Any], path: Path, number: int, columns: Columns) -> Question:
    where = f"{path} row {number}"
    _check_columns(record, where, columns)
    reference = path.parent / str(record[columns.reference])
    if not reference.is_file():
        raise FormatError(f"{where}: no recording at {reference}; column {columns.reference!r} names the role's voice")
    text, answers = str(record[columns.question] or "").strip(), _answers(record[columns.answers])
    if not text or not answers:
        raise FormatError(f"{where} has no {'answer' if text else 'question'}")
    name = str(record.get(columns.id) or f"{path.stem}-{number - 1:04d}")
    if not re.fullmatch(r"\w[\w.\-]*", name):
        raise FormatError(f"{where}: {name!r} cannot be a file's name; use letters, digits, '-', '_' and '.'")
    return Question(
        id=name,
        question=text,
        answers=answers,
        role=str(record.get(columns.role) or reference.stem),
        reference=reference,
        split=str(record.get(columns.split) or "all"),
    )


def _check_columns(record: Mapping[str, Any], where: str, columns: Columns) -> None:
    defaults = Columns()
    for field in fields(Columns):
        name = getattr(columns, field.name)
        # What was named on purpose must be there; so must what has no default value.
        needed = field.name in ("question", "answers", "reference") or name != getattr(defaults, field.name)
        if needed and name not in record:
            raise FormatError(
                f"{where} has no column {name!r}; found {', '.join(map(repr, record)) or 'none'}; "
                f"--{field.name}-column says which of them it is"
            )


def _answers(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(str(answer).strip() for answer in values if answer is not None and str(answer).strip())

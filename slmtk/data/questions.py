"""A file of questions: which utterances of the codes are spoken answers, and to what."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from slmtk.errors import ConfigError, FormatError

_NAMED = 5


def read_questions(path: Path) -> dict[str, str]:
    """Read lines ``{"id": utterance, "question": text}``; further keys are ignored, so are empty lines.

    Returns:
        Question by utterance id, stripped.

    Raises:
        FormatError: a line is something else, or an id occurs twice.
    """
    questions: dict[str, str] = {}
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


def _read_line(line: str, where: str) -> tuple[str, str]:
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise FormatError(f"{where} is not JSON: {error}") from error
    name, question = (values.get("id"), values.get("question")) if isinstance(values, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(question, str) or not question.strip():
        raise FormatError(f'{where}: expected {{"id": utterance, "question": text}}, found {line.strip()[:200]}')
    return name, question.strip()


def check_questions(questions: Mapping[str, str], ids: Collection[str]) -> None:
    """Refuse questions whose utterance is not in the codes.

    Raises:
        ConfigError: names some of them.
    """
    missing = [name for name in questions if name not in ids]
    if missing:
        named = ", ".join(repr(name) for name in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise ConfigError(f"{len(missing)} questions are for utterances that the codes do not have: {named}{more}")

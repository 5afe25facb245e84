"""TriviaQA's own file, or any table of questions and answers -> questions with all that is right, each once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.errors import FormatError
from slmtk.stages.roletrivia.columns import Columns, find_columns
from slmtk.stages.roletrivia.questions import flat_answers
from slmtk.stages.roletrivia.tables import Table, read_table, table_of_rows

_IDS = ("questionid", "question_id", "id")


@dataclass(frozen=True)
class Item:
    """A question.

    Attributes:
        id: in its file; "" if it has none.
        question: what is asked.
        answers: all that is right, the best one first.
    """

    id: str
    question: str
    answers: tuple[str, ...]


def read_items(source: str | Path, columns: Columns | None = None, limit: int | None = None) -> tuple[list[Item], int]:
    """Read questions and answers.

    Args:
        source: TriviaQA's json (an object whose "Data" is a list of objects with Question and Answer), a json list of
            objects, or what `tables.read_table` reads.
        columns: names of the columns of question, answers and aliases.
        limit: take the first so many.

    Returns:
        the questions, and how many rows were left out: without a question or an answer, or whose question came before.

    Raises:
        FormatError: it is no such file, a column is missing, or no question is left.
    """
    path = Path(source)
    table = _json(path) if path.suffix == ".json" and not path.is_dir() else read_table(source)
    found = find_columns(table.columns, table.sounds, columns or Columns(), table.name)
    known = next((name for name in table.columns if name.lower() in _IDS), "")
    items: dict[str, Item] = {}
    left_out = 0
    for number in range(len(table.rows)):
        if limit is not None and len(items) == limit:
            break
        question = " ".join(str(table.value(number, found.question) or "").split())
        answers = flat_answers([table.value(number, found.answers), table.value(number, found.aliases)])
        if not question or not answers or question.lower() in items:
            left_out += 1
            continue
        items[question.lower()] = Item(str(table.value(number, known) or ""), question, answers)
    if not items:
        raise FormatError(f"{source} has no row with a question and an answer")
    return list(items.values()), left_out


def _json(path: Path) -> Table:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {error}") from error
    rows = value.get("Data") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise FormatError(f'{path} is no list of questions; expected {{"Data": [{{"Question": ..., "Answer": ...}}]}}')
    return table_of_rows(path, rows)

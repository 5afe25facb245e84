"""The benchmark's questions: a table -> what is asked, in whose voice it is answered, and what counts as right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from slmtk import audio
from slmtk.errors import ConfigError, FormatError
from slmtk.stages.roletrivia.clips import file_of, is_there
from slmtk.stages.roletrivia.columns import Columns, find_columns, listing
from slmtk.stages.roletrivia.roles import other_answers, read_roles
from slmtk.stages.roletrivia.tables import Table, read_table

_Found = TypeVar("_Found", str, tuple[str, ...])
# Of TriviaQA's object of an answer, in the order in which they are listed.
_ANSWER_KEYS = ("value", "aliases", "humananswers", "normalizedvalue", "normalizedaliases")


@dataclass(frozen=True)
class Question:
    """One question of the benchmark.

    Attributes:
        id: name of its answer's files.
        question: its text.
        answers: all that is right.
        role: who answers.
        reference: recording of the role's voice.
        split: group that is scored by itself.
        question_audio: recording of the question; None if there is none, or it is asked by text.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    role: str
    reference: Path
    split: str
    question_audio: Path | None = None


@dataclass(frozen=True)
class Source:
    """Where the questions are and how they are read."""

    columns: Columns = field(default_factory=Columns)
    """Names of the table's columns."""
    split: str | None = None
    """Of a dataset; None takes its test splits."""
    subset: str | None = None
    """Configuration of a dataset."""
    limit: int | None = None
    """Take the first so many questions of each split only."""
    roles: Path | None = None
    """Folder with a clip, or a sub-folder of clips, for each role; None finds the voices in the table."""
    spoken: bool = False
    """Every question needs a recording of itself."""
    question_clips: Path | None = None
    """Folder with the recorded questions, each named by its id; None finds them in the table."""

    def __post_init__(self) -> None:
        """Check the limit.

        Raises:
            ConfigError: it is less than 1.
        """
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit {self.limit}: expected 1 or more questions a split")


def read_trivia(place: str | Path, source: Source | None = None, clips: Path | None = None) -> list[Question]:
    """Read the questions.

    Args:
        place: what `slmtk.stages.roletrivia.tables.read_table` reads.
        source: how.
        clips: folder for recordings that lie in the table itself; None writes none.

    Raises:
        FormatError: there is no such table, a column is missing (the error lists those that are there), an id occurs
            twice or cannot name a file, or a recording is not there.
        AudioError: a role's recording cannot be read.
    """
    source = source or Source()
    table = read_table(place, split=source.split, subset=source.subset)
    columns = find_columns(table.columns, table.sounds, source.columns, table.name)
    names = _ids(table, columns)
    splits = [_text(table.value(n, columns.split)) or part or "all" for n, part in enumerate(table.splits)]
    asked = _first_of_each(splits, source.limit)
    voices = _voices(table, columns, asked, source, clips)
    return [
        Question(
            id=names[number],
            question=_needed(_text(table.value(number, columns.question)), "question", _where(table, number)),
            answers=_needed(_right(table, columns, number), "answer", _where(table, number)),
            role=voices[number][0],
            reference=voices[number][1],
            split=splits[number],
            question_audio=_spoken(table, columns, number, names[number], source, clips) if source.spoken else None,
        )
        for number in asked
    ]


def flat_answers(value: Any) -> tuple[str, ...]:
    """All texts in a cell of answers, each once: a text, a list, or TriviaQA's object of a value and its aliases."""
    if isinstance(value, Mapping):
        lowered = {str(key).lower().replace("_", ""): part for key, part in value.items()}
        parts = [lowered.get(key) for key in _ANSWER_KEYS]
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    else:
        return tuple(filter(None, [_text(value)]))
    return tuple(dict.fromkeys(text for part in parts for text in flat_answers(part)))


def usable_id(name: str) -> bool:
    """Tell whether ``name`` can be a file's name."""
    return re.fullmatch(r"\w[\w.\-]*", name) is not None


def _ids(table: Table, columns: Columns) -> list[str]:
    names = []
    seen: set[str] = set()
    for number in range(len(table.rows)):
        name = _text(table.value(number, columns.id)) or f"{table.stem}-{number:04d}"
        if not usable_id(name):
            raise FormatError(
                f"{_where(table, number)}: {name!r} cannot be a file's name; use letters, digits, '-', '_' and '.', or "
                "number the rows with --id-column ''"
            )
        if name in seen:
            raise FormatError(
                f"{table.name}: the id {name!r} occurs twice; ids name the answers' files (--id-column '' numbers them)"
            )
        seen.add(name)
        names.append(name)
    return names


def _first_of_each(splits: Sequence[str], limit: int | None) -> list[int]:
    taken: dict[str, int] = {}
    numbers = []
    for number, split in enumerate(splits):
        taken[split] = taken.get(split, 0) + 1
        if limit is None or taken[split] <= limit:
            numbers.append(number)
    return numbers


def _voices(
    table: Table, columns: Columns, asked: Sequence[int], source: Source, clips: Path | None
) -> dict[int, tuple[str, Path]]:
    """Role and recording of its voice, by the number of the row."""
    if source.roles is not None:
        return _from_folder(table, columns, asked, read_roles(source.roles), source.roles)
    column, rows = columns.reference, {number: number for number in asked}
    if not column:
        if not columns.speech or not columns.role:
            raise FormatError(
                f"{table.name} has no column with a recording of the role's voice; "
                f"{listing(table.columns, 'reference')}; or name a folder with a clip of each role: --roles FOLDER"
            )
        column = columns.speech
        roles = [_text(table.value(number, columns.role)) or "" for number in range(len(table.rows))]
        present = [column in table.sounds or is_there(table.value(n, column)) for n in range(len(table.rows))]
        rows = dict(other_answers(roles, present, asked, table.name))
    found = {}
    for number in asked:
        where = f"{_where(table, rows[number])}, column {column!r}"
        path = file_of(table.value(rows[number], column), table.folder, clips, where)
        found[number] = (_text(table.value(number, columns.role)) or path.stem, path)
    return found


def _from_folder(
    table: Table, columns: Columns, asked: Sequence[int], roles: Mapping[str, Path], folder: Path
) -> dict[int, tuple[str, Path]]:
    if not columns.role:
        raise FormatError(
            f"{table.name} has no column with the role; {listing(table.columns, 'role')}; `slmtk roletrivia-build` "
            "gives questions their roles"
        )
    found = {}
    for number in asked:
        role = _text(table.value(number, columns.role)) or ""
        if role not in roles:
            known = ", ".join(list(roles)[:10])
            raise FormatError(f"{_where(table, number)}: no clip of the role {role!r} in {folder}; found {known}")
        found[number] = (role, roles[role])
    return found


def _spoken(table: Table, columns: Columns, number: int, name: str, source: Source, clips: Path | None) -> Path:
    if source.question_clips is not None:
        paths = [source.question_clips / f"{name}{suffix}" for suffix in audio.SUFFIXES]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise FormatError(
                f"{_where(table, number)}: no recording of the question {name!r} in {source.question_clips}"
            )
        return found
    if not columns.question_audio:
        raise FormatError(
            f"{table.name} has no column with the spoken question; {listing(table.columns, 'question_audio')}; or "
            "name a folder of recordings named by id: --question-clips FOLDER"
        )
    where = f"{_where(table, number)}, column {columns.question_audio!r}"
    return file_of(table.value(number, columns.question_audio), table.folder, clips, where)


def _right(table: Table, columns: Columns, number: int) -> tuple[str, ...]:
    both = [table.value(number, columns.answers), table.value(number, columns.aliases)]
    return flat_answers(both)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _needed(value: _Found, what: str, where: str) -> _Found:
    if not value:
        raise FormatError(f"{where} has no {what}")
    return value


def _where(table: Table, number: int) -> str:
    return f"{table.name} row {number + 1}"

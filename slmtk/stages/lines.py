"""The texts that are to be spoken, one a line, with an id and perhaps a reference voice each: text -> model."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.errors import FormatError

SUFFIXES = (".txt", ".jsonl", ".tsv", ".csv")


@dataclass(frozen=True)
class Line:
    """One text to speak.

    Attributes:
        id: name of its files; letters, digits, "-", "_" and ".".
        text: as given.
        reference: recording of the voice to speak in, None for the run's own.
    """

    id: str
    text: str
    reference: Path | None = None


def read_lines(source: str | Path) -> list[Line]:
    """Read the texts to speak.

    Args:
        source: a text, or the path of a file: .txt (a text a line), .jsonl, .tsv or .csv (fields text, id?,
            reference?; a reference's path is relative to the file's folder).

    Raises:
        FormatError: a file without texts, with an empty text, an unusable id or two equal ids.
    """
    path = _as_file(source)
    if path is None:
        text = str(source).strip()
        if not text:
            raise FormatError("the text is empty; give some words to speak")
        return [Line(_slug(text), text)]
    try:
        lines = _read_file(path)
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text: {error}") from error
    if not lines:
        raise FormatError(f"{path} holds no text; expected one a line")
    seen: set[str] = set()
    for line in lines:
        if line.id in seen:
            raise FormatError(f"{path}: the id {line.id!r} occurs twice; ids name the files that are written")
        if not re.fullmatch(r"[\w.\-]+", line.id) or line.id.startswith("."):
            raise FormatError(f"{path}: {line.id!r} cannot be a file's name; use letters, digits, '-', '_' and '.'")
        seen.add(line.id)
    return lines


def _as_file(source: str | Path) -> Path | None:
    path = Path(source)
    try:
        if path.is_file():
            return path
    except OSError:  # a text longer than a path may be
        return None
    if isinstance(source, Path) or path.suffix in SUFFIXES:
        raise FormatError(f"{source} is no file; expected a text to speak, or a file ({', '.join(SUFFIXES)}) of texts")
    return None


def _read_file(path: Path) -> list[Line]:
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return _records(path, [_parse(path, n, row) for n, row in enumerate(content.splitlines(), 1) if row.strip()])
    if path.suffix in (".tsv", ".csv"):
        delimiter = "\t" if path.suffix == ".tsv" else ","
        return _records(path, list(csv.DictReader(content.splitlines(), delimiter=delimiter)))
    texts = [text.strip() for text in content.splitlines() if text.strip()]
    return [Line(f"{path.stem}-{number:04d}", text) for number, text in enumerate(texts)]


def _parse(path: Path, number: int, row: str) -> dict[str, Any]:
    try:
        record = json.loads(row)
    except json.JSONDecodeError as error:
        raise FormatError(f"{path} line {number} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise FormatError(f"{path} line {number} is not a JSON object with a 'text'")
    return record


def _records(path: Path, records: list[dict[str, Any]]) -> list[Line]:
    lines = []
    for number, record in enumerate(records):
        text = str(record.get("text") or "").strip()
        if not text:
            raise FormatError(f"{path} row {number + 1} has no 'text'; found the fields {', '.join(map(str, record))}")
        reference = record.get("reference") or record.get("speaker_wav")
        lines.append(
            Line(
                id=str(record.get("id") or f"{path.stem}-{number:04d}"),
                text=text,
                reference=(path.parent / str(reference)) if reference else None,
            )
        )
    return lines


def _slug(text: str) -> str:
    words = re.findall(r"[\w]+", text.lower())
    return "-".join(words)[:40].strip("-") or "speech"

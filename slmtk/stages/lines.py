"""The texts that are to be spoken, one a line, with an id and perhaps a reference voice each: text -> model."""

from __future__ import annotations

import csv
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.errors import FormatError

SUFFIXES = (".txt", ".jsonl", ".tsv", ".csv")
STDIN = "-"


@dataclass(frozen=True)
class Line:
    """One text to speak.

    Attributes:
        id: name of its files; letters, digits, "-", "_" and ".".
        text: as given.
        reference: the voice to speak in: a recording, a folder of them or "CODES_FOLDER:SPEAKER_ID"; None for the run's
            own.
        speaker: what the file says of the speaker, if that is a name and no such voice.
    """

    id: str
    text: str
    reference: Path | None = None
    speaker: str | None = None


def read_lines(source: str | Path) -> list[Line]:
    """Read the texts to speak.

    Args:
        source: a text, or the path of a file: .txt (a text a line), .jsonl, .tsv or .csv (fields text, id?,
            reference?, speaker?; a reference's path is relative to the file's folder); "-" reads stdin, a text a line
            or, if it begins with "{", as .jsonl with paths relative to the current folder.

    Raises:
        FormatError: a file without texts, with an empty text, an unusable id or two equal ids.
    """
    if str(source) == STDIN:
        return _check(Path("stdin"), _read_stdin())
    path = _as_file(source)
    if path is None:
        text = str(source).strip()
        if not text:
            raise FormatError("the text is empty; give some words to speak")
        return [Line(_slug(text), text)]
    try:
        return _check(path, _read_file(path))
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text: {error}") from error


def _check(path: Path, lines: list[Line]) -> list[Line]:
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


def _read_stdin() -> list[Line]:
    try:
        content = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise FormatError(f"what came on stdin is not UTF-8 text: {error}") from error
    return _from_jsonl(Path("stdin"), content) if content.lstrip()[:1] == "{" else _from_text("stdin", content)


def _read_file(path: Path) -> list[Line]:
    content = path.read_text(encoding="utf-8-sig")  # editors on Windows write a mark in front
    if path.suffix == ".jsonl":
        return _from_jsonl(path, content)
    if path.suffix in (".tsv", ".csv"):
        delimiter = "\t" if path.suffix == ".tsv" else ","
        return _records(path, list(csv.DictReader(content.splitlines(), delimiter=delimiter)))
    return _from_text(path.stem, content)


def _from_jsonl(path: Path, content: str) -> list[Line]:
    # Not splitlines: JSON may hold line separators of Unicode inside a text.
    return _records(path, [_parse(path, n, row) for n, row in enumerate(content.split("\n"), 1) if row.strip()])


def _from_text(name: str, content: str) -> list[Line]:
    texts = [text.strip() for text in content.splitlines() if text.strip()]
    return [Line(f"{_stem(name)}-{number:04d}", text) for number, text in enumerate(texts)]


def _stem(name: str) -> str:
    return re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "line"


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
        speaker = str(record.get("speaker") or "")
        voice = path.parent / str(reference) if reference else _voice(path.parent, speaker)
        line_id = str(record.get("id") or f"{_stem(path.stem)}-{number:04d}")
        lines.append(Line(line_id, text, voice, speaker if speaker and voice is None else None))
    return lines


def _voice(folder: Path, speaker: str) -> Path | None:
    """What a field "speaker" names, if that is a voice and not just a name."""
    if not speaker:
        return None
    place = folder / speaker
    codes, colon, _ = str(place).rpartition(":")
    return place if place.exists() or (colon and Path(codes).is_dir()) else None


def _slug(text: str) -> str:
    words = re.findall(r"[\w]+", text.lower())
    return "-".join(words)[:40].strip("-") or "speech"

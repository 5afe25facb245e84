"""Files of text without speech, from which a language model keeps what it knows: text -> dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.errors import FormatError

SUFFIXES = (".jsonl", ".txt", ".parquet")
_FIELDS = ("id", "instruction", "response", "text")
_EXPECTED = 'expected "instruction" and "response", or "text"'


@dataclass(frozen=True)
class Text:
    """One text to learn.

    Attributes:
        id: the file's own, or its name and the number of the line or row, from 1.
        text: the response, or a text on its own; stripped.
        instruction: what was asked, None for a text on its own or if it is empty; stripped.
    """

    id: str
    text: str
    instruction: str | None


def read_texts(path: Path) -> Iterator[Text]:
    """Read a file of texts, a few at a time.

    Args:
        path: .txt (a text a line), .jsonl or .parquet (fields instruction and response, or text; id if there is one;
            others are ignored). Empty lines of a .txt or .jsonl are passed over.

    Raises:
        FormatError: another kind of file, or damaged, or a line or row without these fields.
    """
    if path.suffix == ".parquet":
        rows = _parquet_rows(path)
    elif path.suffix in (".txt", ".jsonl"):
        rows = _lines(path)
    else:
        raise FormatError(f"{path}: texts are read from {', '.join(SUFFIXES)}, not from {path.suffix or 'this'!r}")
    for number, values in rows:
        yield _to_text(values, f"{path.stem}-{number:08d}", f"{path} {number}")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                yield number, {"text": line} if path.suffix == ".txt" else _parse(line, f"{path} line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _parse(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise FormatError(f"{where} is not JSON: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(path)
        columns = [name for name in _FIELDS if name in file.schema_arrow.names]
        for batch in file.iter_batches(1024, columns=columns):
            for values in batch.to_pylist():
                number += 1
                yield number, values
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{path} cannot be read as Parquet: {error}") from error


def _to_text(values: Any, name: str, where: str) -> Text:
    if not isinstance(values, Mapping):
        raise FormatError(f"{where}: {_EXPECTED}; found {str(values)[:200]!r}")
    paired = values.get("instruction") is not None
    text = values.get("response") if paired else values.get("text")
    instruction = values["instruction"] if paired else None
    if not isinstance(text, str) or not isinstance(instruction, str | None):
        raise FormatError(f"{where}: {_EXPECTED}; found {str(dict(values))[:200]}")
    own = values.get("id")
    return Text(name if own is None else str(own), text.strip(), (instruction or "").strip() or None)

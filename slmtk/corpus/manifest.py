"""A csv, tsv or jsonl table of sound files -> utterances."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmtk.corpus.base import Corpus, CorpusConfig, count_note, ids_from_paths, read_text_file
from slmtk.corpus.columns import Columns, as_number, as_text, choose_columns, json_row
from slmtk.errors import CorpusError
from slmtk.spec import Utterance

SUFFIXES = (".csv", ".tsv", ".jsonl")
NAMES = tuple(name + suffix for name in ("metadata", "manifest") for suffix in SUFFIXES)
_SAMPLED = 50


def manifest(table: Path, config: CorpusConfig) -> Corpus:
    """Read a table with a line for each sound file; columns are those of ``config`` or the likeliest.

    Paths are relative to the table's folder or, if nothing is found there, to the folder above it. Columns of
    numbers become `Utterance.extra`.

    Raises:
        CorpusError: the table is no table, lacks a column, or none of its first files is there.
    """
    rows = read_rows(table)
    columns = find_columns(rows, config, table)
    cells = [as_text(row.get(columns.audio)) for row in rows]
    if None in cells:
        raise CorpusError(f"{table}, row {cells.index(None) + 1}: column {columns.audio!r} is empty")
    root = _find_root(table, [cell for cell in cells if cell], columns.audio)
    paths = [root / cell for cell in cells if cell]
    ids = _ids(rows, columns, paths, root, table)
    utterances = [make_utterance(*entry, columns) for entry in zip(ids, paths, rows, strict=True)]
    untold = sum(utterance.text is None for utterance in utterances)
    return Corpus("manifest", root, utterances, count_note(untold, "rows have no text"))


def find_columns(rows: Sequence[dict[str, Any]], config: CorpusConfig, table: Path) -> Columns:
    """Find which column of ``rows`` is what.

    Raises:
        CorpusError: as `choose_columns`.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    return choose_columns(names, _number_columns(names, rows), config, str(table))


def make_utterance(utterance_id: str, path: Path, row: dict[str, Any], columns: Columns) -> Utterance:
    """Put a row's cells where they belong."""
    text, speaker, language = (
        as_text(row.get(name)) if name else None for name in (columns.text, columns.speaker, columns.language)
    )
    return Utterance(utterance_id, path, text, speaker, language, columns.extra(row))


def _ids(rows: Sequence[dict[str, Any]], columns: Columns, paths: Sequence[Path], root: Path, table: Path) -> list[str]:
    if columns.id is None:
        return ids_from_paths(paths, root)
    ids = [as_text(row.get(columns.id)) for row in rows]
    if None in ids:
        raise CorpusError(f"{table}, row {ids.index(None) + 1}: column {columns.id!r} is empty")
    return [utterance_id for utterance_id in ids if utterance_id]


def read_rows(table: Path) -> list[dict[str, Any]]:
    """Read all rows of a csv, tsv or jsonl table by the names of their columns.

    Raises:
        CorpusError: it is none, or has no rows.
    """
    # Not str.splitlines: it would also break texts at U+2028 and the like, which end no line of a table.
    lines = list(io.StringIO(read_text_file(table), newline=""))
    rows = _parse_rows(table, lines)
    if not rows:
        raise CorpusError(f"{table} has no rows")
    return rows


def _parse_rows(table: Path, lines: Sequence[str]) -> list[dict[str, Any]]:
    if table.suffix.lower() == ".jsonl":
        return [json_row(line, f"{table}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if table.suffix.lower() == ".tsv":
        # Quotation marks in a tsv are speech, not quoting: a lone one would swallow the rows after it.
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.DictReader(lines, delimiter=_delimiter(lines[0] if lines else ""))
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise CorpusError(f"{table}, line {reader.line_num}: expected {len(reader.fieldnames or ())} columns")
        rows.append(dict(row))
    return rows


def _delimiter(header: str) -> str:
    return max(",;|\t", key=header.count)


def _number_columns(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    def holds_numbers(name: str) -> bool:
        cells = [row[name] for row in rows if row.get(name) not in (None, "")]
        return bool(cells) and all(as_number(cell) is not None for cell in cells)

    return [name for name in names if holds_numbers(name)]


def _find_root(table: Path, cells: Sequence[str], column: str) -> Path:
    folder = table.parent
    step = max(1, len(cells) // _SAMPLED)
    sample = cells[::step]
    for root in (folder, folder.resolve().parent):
        if any((root / cell).is_file() for cell in sample):
            return root
    raise CorpusError(
        f"{table}: column {column!r} holds {sample[0]!r}, and no such file lies in {folder} or the folder above; "
        "paths are relative to the table's folder, or absolute"
    )

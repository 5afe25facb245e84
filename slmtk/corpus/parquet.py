"""Parquet files, here or on the hub, read where they lie -> utterances: nothing is fetched or converted as a whole.

Columns of text and numbers are read at once; sounds are read by row group when it is their turn.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from slmtk import audio
from slmtk.corpus.base import Corpus, CorpusConfig, count_note
from slmtk.corpus.columns import Columns, as_text, choose_columns
from slmtk.errors import AudioError, CorpusError, one_line
from slmtk.spec import Utterance

# 16-bit mono at 16 kHz, for a corpus whose first sound cannot be read.
_BYTES_PER_SECOND = 32_000
# Neighbours lie in one row group; two more are for utterances that are handed out in another order.
_GROUPS_HELD = 3
_reading = threading.Lock()


@dataclass(frozen=True, slots=True)
class ParquetCell:
    """Where an utterance's sound lies.

    Attributes:
        file: path or address of a Parquet file.
        group: row group in it.
        place: row in the group.
        row: in the whole corpus.
        column: of {bytes, path}.
        seconds: about its duration: the group's bytes a row, at the rate of the corpus's first sound.
    """

    file: str
    group: int
    place: int
    row: int
    column: str
    seconds: float


def stream(source: Path | str, config: CorpusConfig) -> Corpus:
    """List the utterances of a dataset in Parquet files without fetching its sounds.

    Ids are those of the column, with the row's number before them if they are not in order: sorted by id, neighbours
    have to be neighbours in the files, since reading one sound means reading its row group.

    Args:
        source: a Parquet file, a folder of them as the hub has it, or the id of a dataset of the hub.
        config: columns, split and subset.

    Raises:
        CorpusError: it is not in Parquet files, has several splits and none was chosen, or has no column of audio.
    """
    files = _files(source, config)
    columns: Columns | None = None
    rows: list[tuple[dict[str, Any], ParquetCell]] = []
    seconds_per_byte = 0.0
    for file in files:
        opened = _open(file)
        if columns is None:
            columns = _find_columns(opened.schema_arrow, config, str(source))
            seconds_per_byte = _seconds_per_byte(opened, columns.audio)
        cells = _cells(file, opened, columns.audio, len(rows), seconds_per_byte)
        rows += zip(_plain_rows(opened, columns, file), cells, strict=True)
    if columns is None:
        raise CorpusError(f"{source} holds no Parquet files")
    names = _ids(rows, columns.id, str(source))
    utterances = [_utterance(*entry, columns) for entry in zip(names, rows, strict=True)]
    untold = sum(utterance.text is None for utterance in utterances)
    return Corpus("hf", None, utterances, count_note(untold, "rows have no text"))


def open_cell(cell: ParquetCell) -> io.BytesIO:
    """Return the encoded sound that ``cell`` points at.

    Raises:
        AudioError: the cell is empty or holds a path alone.
        CorpusError: the file cannot be read. It ends the run: an hour without a network must not become a thousand
            recordings that count as failed.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # The library below the hub's client differs by its version; its error is a base of the hub's own.
    failures: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, OSError, ValueError, RuntimeError)
    try:
        # Two threads must not seek in one file.
        with _reading:
            value = _read_group(cell.file, cell.group, cell.column)[cell.place].as_py() or {}
    except failures as error:
        what = one_line(error)
        raise CorpusError(f"{cell.file} cannot be read: {what}; run the same command again to resume") from error
    if not value.get("bytes"):
        found = f"the path {value['path']!r} alone" if value.get("path") else "no audio"
        raise AudioError(f"row {cell.row} ({cell.file}) holds {found}", kind="empty")
    sound = io.BytesIO(value["bytes"])
    sound.name = value.get("path") or f"row {cell.row}"
    return sound


def _files(source: Path | str, config: CorpusConfig) -> list[str]:
    if isinstance(source, Path) and source.is_file():
        return [str(source)]
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    try:
        builder = datasets.load_dataset_builder(str(source), config.subset)
    except (OSError, ValueError, RuntimeError, HfHubHTTPError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(f"cannot find the dataset {str(source)!r}: {error}") from error
    files = builder.config.data_files or {}
    by_split: dict[str, list[str]] = {str(name): list(found) for name, found in files.items()}
    found = sorted({Path(name).suffix for names in by_split.values() for name in names})
    if found != [".parquet"]:
        raise CorpusError(
            f"{source} is in {', '.join(found) or 'no'} files; --streaming reads .parquet alone: leave it out, or "
            "fetch the files (`hf download`) and name their folder"
        )
    if config.split is None and len(by_split) == 1:
        return next(iter(by_split.values()))
    if config.split not in by_split:
        asked = f"no split {config.split!r}" if config.split else "several splits"
        raise CorpusError(f"{source} has {asked}; choose one of {', '.join(by_split)} with --split")
    return by_split[config.split]


@lru_cache(maxsize=64)
def _open(file: str) -> Any:
    import fsspec  # type: ignore[import-untyped]
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(fsspec.open(file, "rb").open())
    except (OSError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{file} cannot be read as Parquet: {error}") from error


@lru_cache(maxsize=_GROUPS_HELD)
def _read_group(file: str, group: int, column: str) -> Any:
    return _open(file).read_row_group(group, columns=[column]).column(column)


def _find_columns(schema: Any, config: CorpusConfig, source: str) -> Columns:
    import pyarrow as pa

    sounds = [f.name for f in schema if pa.types.is_struct(f.type) and {"bytes", "path"} <= {g.name for g in f.type}]
    numbers = [f.name for f in schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
    if config.audio_column is None and len(sounds) == 1:
        config = replace(config, audio_column=sounds[0])
    columns = choose_columns(schema.names, numbers, config, source)
    if columns.audio not in sounds:
        raise CorpusError(
            f"{source}: column {columns.audio!r} is {schema.field(columns.audio).type}, not audio in the file; "
            f"columns of audio: {', '.join(sounds) or 'none'}"
        )
    return columns


def _plain_rows(opened: Any, columns: Columns, file: str) -> list[dict[str, Any]]:
    kinds = (columns.id, columns.text, columns.speaker, columns.language)
    names = list(dict.fromkeys([*(name for name in kinds if name), *columns.numbers, *columns.texts]))
    if missing := [name for name in names if name not in opened.schema_arrow.names]:
        raise CorpusError(f"{file} has no column {missing[0]!r}, which other files of the dataset have")
    if not names:
        return [{} for _ in range(opened.metadata.num_rows)]
    rows: list[dict[str, Any]] = opened.read(columns=names).to_pylist()
    return rows


def _cells(file: str, opened: Any, column: str, first: int, seconds_per_byte: float) -> Iterator[ParquetCell]:
    for group in range(opened.metadata.num_row_groups):
        about = opened.metadata.row_group(group)
        chunks = [about.column(place) for place in range(about.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == f"{column}.bytes")
        seconds = round(size / max(1, about.num_rows) * seconds_per_byte, 3)
        for place in range(about.num_rows):
            yield ParquetCell(file, group, place, first, column, seconds)
            first += 1


def _seconds_per_byte(opened: Any, column: str) -> float:
    value = next((batch.column(0)[0].as_py() for batch in opened.iter_batches(1, columns=[column])), None) or {}
    if value.get("bytes"):
        try:
            return audio.info(io.BytesIO(value["bytes"])).seconds / len(value["bytes"])
        except AudioError:
            pass  # told when it is its turn to be encoded
    return 1 / _BYTES_PER_SECOND


def _ids(rows: Sequence[tuple[dict[str, Any], ParquetCell]], column: str | None, source: str) -> list[str]:
    width = max(6, len(str(len(rows) - 1)))
    numbers = [f"{cell.row:0{width}d}" for _, cell in rows]
    if column is None:
        return numbers
    ids = [as_text(row[column]) for row, _ in rows]
    if None in ids:
        raise CorpusError(f"{source}, row {ids.index(None)}: column {column!r} is empty")
    names = [name for name in ids if name is not None]
    if names == sorted(names):
        return names
    return [f"{number}-{name}" for number, name in zip(numbers, names, strict=True)]


def _utterance(name: str, entry: tuple[dict[str, Any], ParquetCell], columns: Columns) -> Utterance:
    row, cell = entry
    text, speaker, language = (
        as_text(row[kind]) if kind else None for kind in (columns.text, columns.speaker, columns.language)
    )
    return Utterance(name, None, text, speaker, language, columns.extra(row), locator=cell)

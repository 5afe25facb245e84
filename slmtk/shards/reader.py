"""Parquet parts and their index -> rows of codes, a few hundred at a time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmtk.errors import CodecMismatchError, FormatError
from slmtk.shards.rows import FORMAT_VERSION, INDEX_NAME, METADATA_KEY, TEXT_COLUMNS, CodesRow
from slmtk.spec import CodecSpec

_BATCH_ROWS = 256
_OWN_COLUMNS = {*TEXT_COLUMNS, "duration", "num_frames", "codes", "speaker_vector"}


class CodesFolder:
    """A finished folder of codes, read part by part."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        """Take a folder and its index as `open_codes` has read it."""
        self.folder = folder
        self.index = index
        self.spec = _found_by(CodecSpec.from_dict(index["codec"]), index.get("config", {}).get("codec"))
        self._places: dict[str, tuple[int, int]] | None = None

    @property
    def num_rows(self) -> int:
        """Utterances in all parts."""
        return int(self.index["rows"])

    @property
    def seconds(self) -> float:
        """Duration of all utterances."""
        return float(self.index["seconds"])

    @property
    def parts(self) -> list[Path]:
        """The Parquet files in order."""
        return [self.folder / shard["file"] for shard in self.index["shards"]]

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[CodesRow]:
        """Read the rows in order.

        Args:
            columns: names of the columns to read (``id`` always is); the others get their defaults: codes [K, 0],
                duration 0, None. None reads all.

        Raises:
            FormatError: a part is missing, damaged or lacks a column.
            CodecMismatchError: a part is of another codec.
        """
        for part in self.parts:
            yield from read_part(part, self.spec, columns)

    def row(self, row_id: str) -> CodesRow:
        """Read the row of utterance ``row_id``.

        Raises:
            FormatError: there is none.
        """
        if self._places is None:
            sizes = [int(shard["rows"]) for shard in self.index["shards"]]
            places = ((part, offset) for part, size in enumerate(sizes) for offset in range(size))
            self._places = dict(zip((row.id for row in self.rows(("id",))), places, strict=False))
        if row_id not in self._places:
            raise FormatError(f"{self.folder} holds no utterance {row_id!r}")
        part, offset = self._places[row_id]
        return next(read_part(self.parts[part], self.spec, skip=offset))


def _found_by(spec: CodecSpec, name: Any) -> CodecSpec:
    # Folders from before `CodecSpec.source` say only in their settings where the codec was found.
    if spec.source or not isinstance(name, str) or name == spec.name:
        return spec
    return dataclasses.replace(spec, source=name)


def open_codes(folder: Path) -> CodesFolder:
    """Open a folder that `write_index` has finished.

    Raises:
        FormatError: it is no folder of codes, is unfinished, or has a version that this slmtk does not read.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        started = folder.is_dir() and any(folder.glob("part-*.parquet"))
        hint = "it is unfinished: run the same command again to resume" if started else "expected a folder of codes"
        raise FormatError(f"{folder} has no {INDEX_NAME}; {hint}")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(index, dict) or index.get("kind") != "codes" or index.get("format") != FORMAT_VERSION:
        found = {key: index.get(key) for key in ("kind", "format")} if isinstance(index, dict) else type(index)
        raise FormatError(f"{path} describes {found}; expected kind 'codes', format {FORMAT_VERSION}")
    missing = [key for key in ("codec", "rows", "frames", "seconds", "shards", "fingerprint") if key not in index]
    if missing:
        raise FormatError(f"{path} lacks {', '.join(missing)}")
    return CodesFolder(folder, index)


def read_metadata(part: Path) -> dict[str, Any]:
    """Return what a part says of itself: ``format``, ``codec`` and what its writer added.

    Raises:
        FormatError: missing, damaged, or not a part that slmtk wrote.
    """
    return _metadata(part, _open(part))


def read_part(
    part: Path, spec: CodecSpec | None = None, columns: Sequence[str] | None = None, *, skip: int = 0
) -> Iterator[CodesRow]:
    """Read the rows of one part in order.

    Args:
        part: the Parquet file.
        spec: refuse a part of another codec; None takes what the part says.
        columns: as `CodesFolder.rows`.
        skip: rows to leave out at the start.

    Raises:
        FormatError: missing, damaged, or lacks a column.
        CodecMismatchError: the part is of another codec.
    """
    import pyarrow as pa

    file = _open(part)
    found = CodecSpec.from_dict(_metadata(part, file)["codec"])
    if spec is not None and found != spec:
        raise CodecMismatchError(f"{part} is of another codec (expected, found): " + "; ".join(spec.differences(found)))
    names = file.schema_arrow.names
    wanted = names if columns is None else ["id", *(name for name in columns if name != "id")]
    if "codes" in wanted and "num_frames" not in wanted:
        wanted = [*wanted, "num_frames"]
    if missing := [name for name in wanted if name not in names]:
        raise FormatError(f"{part} has no column {missing[0]!r}; it has {', '.join(names)}")
    try:
        for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            yield from _to_rows(batch.slice(skip), found)
            skip = 0
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{part} is damaged: {error}") from error


def _open(part: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(part)
    except FileNotFoundError as error:
        raise FormatError(f"{part} is missing") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{part} is damaged: {error}") from error


def _metadata(part: Path, file: Any) -> dict[str, Any]:
    stored = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise FormatError(f"{part} has no {METADATA_KEY.decode()!r} metadata; it is not a part that slmtk wrote")
    values = json.loads(stored)
    if values.get("format") != FORMAT_VERSION:
        raise FormatError(f"{part} has format {values.get('format')!r}; this slmtk reads {FORMAT_VERSION}")
    return dict(values)


def _to_rows(batch: Any, spec: CodecSpec) -> Iterator[CodesRow]:
    names = batch.schema.names
    plain = {name: batch.column(name).to_pylist() for name in names if name not in ("codes", "speaker_vector")}
    extra = [name for name in names if name not in _OWN_COLUMNS]
    codes = _ListColumn(batch.column("codes")) if "codes" in names else None
    vectors = _ListColumn(batch.column("speaker_vector")) if "speaker_vector" in names else None
    nothing = np.zeros((spec.num_codebooks, 0), np.int32)
    for place, row_id in enumerate(plain["id"]):
        values = {name: plain[name][place] for name in plain}
        yield CodesRow(
            id=row_id,
            codes=nothing if codes is None else _unflatten(codes[place], spec, values["num_frames"], row_id),
            duration=values.get("duration", 0.0),
            text=values.get("text"),
            speaker=values.get("speaker"),
            language=values.get("language"),
            source=values.get("source") or "",
            source_sha1=values.get("source_sha1") or "",
            speaker_vector=None if vectors is None else vectors[place].astype(np.float32),
            extra={name: values[name] for name in extra if values[name] is not None},
        )


class _ListColumn:
    """A list column as one flat array and offsets: no Python object per value."""

    def __init__(self, column: Any) -> None:
        lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        self._offsets = np.concatenate([[0], np.cumsum(lengths)])
        self._values = column.flatten().to_numpy(zero_copy_only=False)

    def __getitem__(self, place: int) -> np.ndarray[Any, Any]:
        values: np.ndarray[Any, Any] = self._values[self._offsets[place] : self._offsets[place + 1]]
        return values


def _unflatten(flat: np.ndarray[Any, Any], spec: CodecSpec, frames: int, row_id: str) -> np.ndarray[Any, Any]:
    if len(flat) != frames * spec.num_codebooks:
        raise FormatError(
            f"utterance {row_id!r} has {len(flat)} codes; {frames} frames of {spec.num_codebooks} were expected"
        )
    return np.ascontiguousarray(flat.reshape(frames, spec.num_codebooks).T, dtype=np.int32)

"""Rows -> the dataset's Parquet files. Same rows, same bytes: the writer's settings are pinned here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slmtk.data.dataset_columns import METADATA_KEY, TASK_JOIN, DatasetRow, SpeakerVectors, dataset_schema
from slmtk.data.splits import SPLITS
from slmtk.errors import FormatError
from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    import pyarrow as pa

# A reader decodes a whole group for one row, so groups are smaller here than in a codes shard.
_ROW_GROUP = 512
_PART_CODES = 1 << 27  # about 160 MB at 10 bits a code; a character of text counts as much


@dataclass
class SplitStats:
    """What the index says of one split.

    Attributes:
        rows: utterances, and texts without speech.
        tasks: how many of them serve each task; one may serve several.
        seconds: of audio.
        frames: of codes.
        text_tokens: of texts and questions.
        speakers: different names of speakers.
        files: name, rows, bytes and sha256 of every file.
    """

    rows: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    frames: int = 0
    text_tokens: int = 0
    speakers: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)


class DatasetWriter:
    """Takes rows in order and writes each split's files; each appears under its name when it is whole."""

    def __init__(
        self, out: Path, spec: CodecSpec, speakers: SpeakerVectors | None = None, *, spoken_questions: bool = False
    ) -> None:
        """Write into the folder ``out``, which exists; without ``speakers`` the rows' vectors are the codec's.

        Rows with codes of a spoken question need ``spoken_questions``.
        """
        speakers = speakers or SpeakerVectors.of_codec(spec)
        self._splits = {split: _SplitWriter(out, split, spec, speakers, spoken_questions) for split in SPLITS}

    def add(self, split: str, row: DatasetRow) -> None:
        """Append ``row`` to ``split``.

        Raises:
            FormatError: the row has the wrong number of streams, or a speaker vector of the wrong width.
        """
        self._splits[split].add(row)

    def close(self) -> dict[str, SplitStats]:
        """Finish all files; returns the splits that have rows."""
        return {name: stats for name, writer in self._splits.items() if (stats := writer.close()).rows}

    def abort(self) -> None:
        """Drop the files that are not whole."""
        for writer in self._splits.values():
            writer.abort()


class _SplitWriter:
    def __init__(
        self, out: Path, split: str, spec: CodecSpec, speakers: SpeakerVectors, spoken_questions: bool
    ) -> None:
        self._out, self._split, self._spec, self._vectors = out, split, spec, speakers
        stored = json.dumps({"format": 1, "codec": spec.to_dict()}, sort_keys=True, ensure_ascii=False)
        schema = dataset_schema(spec, speakers, spoken_questions=spoken_questions)
        self._schema = schema.with_metadata({METADATA_KEY: stored.encode()})
        self._stats = SplitStats()
        self._speakers: set[str] = set()
        self._buffer: list[DatasetRow] = []
        self._parquet: Any = None
        self._temporary = out / f".{split}.{os.getpid()}.tmp"
        self._part_rows = self._part_codes = 0

    def add(self, row: DatasetRow) -> None:
        if row.codes.shape != (self._spec.num_codebooks, row.num_frames):
            expected = [self._spec.num_codebooks, row.num_frames]
            raise FormatError(f"row {row.id!r} has codes {list(row.codes.shape)}; expected {expected}")
        width = 0 if row.speaker_vector is None else len(row.speaker_vector)
        if width not in (0, self._vectors.dim):
            raise FormatError(f"row {row.id!r} has a speaker vector of {width}; expected {self._vectors.dim}")
        self._check_question(row)
        self._buffer.append(row)
        self._stats.rows += 1
        for task in row.task.split(TASK_JOIN):
            self._stats.tasks[task] = self._stats.tasks.get(task, 0) + 1
        self._stats.seconds += row.duration
        self._stats.frames += row.num_frames
        self._stats.text_tokens += row.num_text_tokens
        if row.speaker is not None:
            self._speakers.add(row.speaker)
        if len(self._buffer) == _ROW_GROUP:
            self._flush()

    def _check_question(self, row: DatasetRow) -> None:
        if row.question_codes is None:
            return
        if "question_codes" not in self._schema.names:
            raise FormatError(f"row {row.id!r} has a spoken question, and this dataset has no column for it")
        if row.question_codes.ndim != 2 or row.question_codes.shape[0] != self._spec.num_codebooks:
            shape = list(row.question_codes.shape)
            raise FormatError(f"row {row.id!r} has question codes {shape}; expected [{self._spec.num_codebooks}, T]")

    def close(self) -> SplitStats:
        self._flush()
        self._finish_part()
        self._stats.seconds = round(self._stats.seconds, 3)
        self._stats.speakers = len(self._speakers)
        self._stats.tasks = dict(sorted(self._stats.tasks.items()))
        return self._stats

    def abort(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
            self._parquet = None
            self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow.parquet as pq

        if not self._buffer:
            return
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._temporary, self._schema, **_settings(self._schema))
        self._parquet.write_table(_to_table(self._buffer, self._schema), row_group_size=_ROW_GROUP)
        self._part_rows += len(self._buffer)
        self._part_codes += sum(_weight(row) for row in self._buffer)
        self._buffer = []
        if self._part_codes >= _PART_CODES:
            self._finish_part()

    def _finish_part(self) -> None:
        if self._parquet is None:
            return
        self._parquet.close()
        self._parquet = None
        path = self._out / f"{self._split}-{len(self._stats.files):05d}.parquet"
        os.replace(self._temporary, path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        entry = {"file": path.name, "rows": self._part_rows, "bytes": path.stat().st_size, "sha256": digest}
        self._stats.files.append(entry)
        self._part_rows = self._part_codes = 0


def _weight(row: DatasetRow) -> int:
    return row.codes.size + len(row.text) + (0 if row.question_codes is None else row.question_codes.size)


def _settings(schema: pa.Schema) -> dict[str, Any]:
    # Dictionary indices are bit-packed: 10 bits a code, where plain uint16 would be stored as 32 bits.
    dictionary = ["task", "speaker", "codes.list.element"]
    if "question_codes" in schema.names:
        dictionary.append("question_codes.list.element")
    planes = [f"{name}.list.element" for name in ("speaker_vector", "timbre") if name in schema.names]
    return {
        "version": "2.6",
        "data_page_version": "1.0",
        "compression": "zstd",
        "compression_level": 9,
        "use_dictionary": dictionary,
        "dictionary_pagesize_limit": 16 << 20,
        "column_encoding": dict.fromkeys(planes, "BYTE_STREAM_SPLIT") or None,
        "write_statistics": ["id", "num_frames", "num_text_tokens", "duration"],
    }


def _to_table(rows: Sequence[DatasetRow], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    arrays = []
    for column in schema:
        if column.name in ("codes", "question_codes"):
            arrays.append(_codes([getattr(row, column.name) for row in rows], column.type))
        elif column.name in ("speaker_vector", "timbre"):
            arrays.append(_vectors([getattr(row, column.name) for row in rows], column.type.list_size))
        else:
            arrays.append(pa.array([getattr(row, column.name) for row in rows], column.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _codes(codes: Sequence[NDArray[np.int64] | None], kind: pa.ListType) -> pa.ListArray:
    import pyarrow as pa

    flat = [np.zeros(0, np.int64) if one is None else one.T.reshape(-1) for one in codes]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in flat])]).astype(np.int32)
    values = np.concatenate(flat).astype(kind.value_type.to_pandas_dtype())
    missing = np.array([one is None for one in codes])
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=kind, mask=mask)


def _vectors(vectors: Sequence[NDArray[np.float32] | None], width: int) -> pa.FixedSizeListArray:
    import pyarrow as pa

    values = np.zeros((len(vectors), width), np.float32)
    missing = np.ones(len(vectors), bool)
    for place, vector in enumerate(vectors):
        if vector is not None:
            values[place], missing[place] = vector, False
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width, mask=pa.array(missing))

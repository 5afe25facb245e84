"""A dataset's split by index: what can be learnt from it, decoded a row group at a time. Dataset -> training."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slmtk.data.dataset_columns import INDEX_NAME, METADATA_KEY, TASK_JOIN, DatasetRow, SpeakerVectors, dataset_schema
from slmtk.data.names import Names, NamesBuilder
from slmtk.errors import FormatError
from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    import pyarrow as pa

_SMALL_ROWS = 1 << 16  # rows of the small columns that are decoded at once


class DatasetRows:
    """What there is to learn in one split, by index: an utterance of several tasks stands there once for each.

    Row groups are decoded when needed, the last used ones are kept. Of a row that is not decoded, some 25 bytes are in
    memory.

    Attributes:
        num_frames: int32 [n], T of each.
        num_question_frames: int32 [n], T'' of each one's spoken question.
        num_text_tokens: int32 [n].
        speakers: of each; None where nobody said who it is.
        tasks: of each.
        utterances: int64 [n], number of the utterance (row of the files); the tasks of one stand side by side.
        group_starts: int64 [groups + 1], first index of each row group, and n.
        num_utterances: rows of the files.
    """

    def __init__(self, files: Sequence[Path], spec: CodecSpec, speakers: SpeakerVectors, cache_bytes: int) -> None:
        """Read the small columns of all ``files``.

        Raises:
            FormatError: a file is missing or damaged.
        """
        self._spec, self._vectors = spec, speakers
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[int, _Group] = OrderedDict()
        self._places: list[tuple[Path, int]] = []
        sizes: list[int] = []
        columns: dict[str, list[NDArray[np.int32]]] = {
            name: [] for name in ("num_frames", "num_text_tokens", "num_question_frames")
        }
        names = {"speaker": NamesBuilder(), "task": NamesBuilder()}
        for path in files:
            part = open_part(path, spec, speakers)
            for group in range(part.metadata.num_row_groups):
                self._places.append((path, group))
                sizes.append(part.metadata.row_group(group).num_rows)
            there = [name for name in columns if name in part.schema_arrow.names]
            for batch in part.iter_batches(_SMALL_ROWS, columns=[*there, *names]):
                for name, pieces in columns.items():
                    nothing = np.zeros(batch.num_rows, np.int32)
                    pieces.append(batch.column(name).to_numpy() if name in there else nothing)
                for name, builder in names.items():
                    builder.add(batch.column(name))
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._group_rows = starts
        self.num_utterances = int(starts[-1])
        tasks = names["task"].build()
        self.utterances, self.tasks = _expand(tasks)
        self.group_starts = np.searchsorted(self.utterances, starts).astype(np.int64)
        self.num_frames, self.num_text_tokens, self.num_question_frames = (
            np.concatenate([np.zeros(0, np.int32), *pieces])[self.utterances] for pieces in columns.values()
        )
        self.speakers = names["speaker"].build().take(self.utterances)

    def __len__(self) -> int:
        """Things to learn: utterances, each as often as it has tasks."""
        return len(self.utterances)

    def __getitem__(self, index: int) -> DatasetRow:
        """Return what stands at ``index``; a negative one counts from the end.

        Raises:
            IndexError: there is no such row.
            FormatError: the row's codes do not fit its number of frames.
        """
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        row = int(self.utterances[position])
        group = int(np.searchsorted(self._group_rows, row, side="right")) - 1
        return self._group(group).row(row - int(self._group_rows[group]), self.tasks[position] or "")

    def __iter__(self) -> Iterator[DatasetRow]:
        """Yield all in order."""
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the decoded groups behind: a worker process decodes its own."""
        return {**self.__dict__, "_cache": OrderedDict()}

    def _group(self, number: int) -> _Group:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        path, place = self._places[number]
        group = _Group(open_part(path, self._spec, self._vectors).read_row_group(place), self._spec)
        self._cache[number] = group
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)
        return group


def _expand(tasks: Names) -> tuple[NDArray[np.int64], Names]:
    """Rows of the files, each as often as it has tasks: its number int64 [n], and the one task of each."""
    single: list[str] = []
    lists = []
    for joined in tasks.names:
        parts = joined.split(TASK_JOIN)
        single += [part for part in parts if part not in single]
        lists.append([single.index(part) for part in parts])
    counts = np.array([len(part) for part in lists], np.int64)[tasks.codes]
    rows = np.repeat(np.arange(len(tasks), dtype=np.int64), counts)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int32)
    for number, part in enumerate(lists):
        table[number, : len(part)] = part
    return rows, Names(table[tasks.codes[rows], nth] if len(rows) else np.zeros(0, np.int32), single)


class _Group:
    """A decoded row group; codes and vectors as flat arrays, without a Python object per value."""

    def __init__(self, table: pa.Table, spec: CodecSpec) -> None:
        self._spec = spec
        self.nbytes = int(table.nbytes)
        self._table = table.combine_chunks()
        columns = [name for name in ("codes", "question_codes") if name in table.column_names]
        lists = {name: self._table[name].chunk(0) for name in columns}
        self._flat = {name: (column.offsets.to_numpy(), column.values.to_numpy()) for name, column in lists.items()}

    def row(self, place: int, task: str) -> DatasetRow:
        values = {
            name: self._table[name][place].as_py()
            for name in ("id", "text", "question", "speaker", "num_frames", "num_text_tokens", "duration")
        }
        return DatasetRow(
            codes=self._codes("codes", "num_frames", place),
            question_codes=self._question(place),
            task=task,
            speaker_vector=self._vector("speaker_vector", place),
            timbre=self._vector("timbre", place),
            **values,
        )

    def _question(self, place: int) -> NDArray[np.int64] | None:
        if "question_codes" not in self._flat or not self._table["question_codes"][place].is_valid:
            return None
        return self._codes("question_codes", "num_question_frames", place)

    def _codes(self, column: str, count: str, place: int) -> NDArray[np.int64]:
        offsets, values = self._flat[column]
        flat = values[offsets[place] : offsets[place + 1]]
        frames, streams = self._table[count][place].as_py(), self._spec.num_codebooks
        if len(flat) != frames * streams:
            name = self._table["id"][place].as_py()
            raise FormatError(f"row {name!r} has {len(flat)} {column}; expected {frames} frames of {streams}")
        return np.ascontiguousarray(flat.reshape(frames, streams).T, dtype=np.int64)

    def _vector(self, column: str, place: int) -> NDArray[np.float32] | None:
        if column not in self._table.column_names:
            return None
        value = self._table[column][place]
        return value.values.to_numpy().astype(np.float32) if value.is_valid else None


def open_part(path: Path, spec: CodecSpec, speakers: SpeakerVectors) -> Any:
    """Open one Parquet file of a dataset and check that it is of this codec and these speaker vectors.

    Raises:
        FormatError: it is missing, damaged or another dataset's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        part = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError as error:
        raise FormatError(f"{path} is missing; build the dataset again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{path} is damaged: {error}; build the dataset again") from error
    schema = part.schema_arrow
    spoken = "question_codes" in schema.names
    if not schema.equals(dataset_schema(spec, speakers, spoken_questions=spoken)):
        raise FormatError(f"{path} has other columns than a dataset of codec {spec.name!r}: {schema.names}")
    stored = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    if stored.get("codec") != spec.to_dict():
        raise FormatError(f"{path} was written with another codec than {INDEX_NAME} says")
    return part

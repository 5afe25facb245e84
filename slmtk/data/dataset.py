"""The dataset on disk, between codes and training: its columns, and a reader that gives rows by index."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError
from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
KIND = "dataset"
INDEX_NAME = "slmtk.json"
TOKENIZER_FOLDER = "tokenizer"
METADATA_KEY = b"slmtk"
CACHE_BYTES = 2 << 30
"""Decoded row groups that a reader keeps: about 1,000 hours of three streams at 80 frames a second."""


@dataclass(frozen=True)
class DatasetRow:
    """One thing to learn: a text and its speech.

    Attributes:
        id: the utterance's, unique in the dataset.
        task: "tts" (read the text) or "qa" (answer the question).
        text: what is said, normalised.
        question: what was asked, for "qa".
        codes: int64 [K, T].
        speaker_vector: float32 [D], None if the codec has none.
        speaker: the corpus's name of the speaker.
        num_frames: T.
        num_text_tokens: tokens of text and question, without the prompt's own words.
        duration: seconds of audio.
    """

    id: str
    task: str
    text: str
    question: str | None
    codes: NDArray[np.int64]
    speaker_vector: NDArray[np.float32] | None
    speaker: str | None
    num_frames: int
    num_text_tokens: int
    duration: float


def dataset_schema(spec: CodecSpec) -> pa.Schema:
    """Return the columns of a dataset's Parquet files, in order."""
    import pyarrow as pa

    code_type = pa.uint32() if max(spec.codebook_sizes) > 65_536 else pa.uint16()
    columns = [(name, pa.string()) for name in ("id", "task", "speaker", "text", "question")]
    columns += [("codes", pa.list_(code_type)), ("num_frames", pa.int32()), ("num_text_tokens", pa.int32())]
    columns.append(("duration", pa.float32()))
    if spec.speaker_dim:
        columns.append(("speaker_vector", pa.list_(pa.float32(), spec.speaker_dim)))
    return pa.schema(columns)


class DatasetFolder:
    """A finished dataset.

    Attributes:
        folder: where it lies.
        info: its ``slmtk.json``.
        spec: the codec of all codes.
        vocabulary: the ids a model of this dataset uses.
        tasks: "tts", "qa" or both.
    """

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        """Take a folder and its index as `open_dataset` has read it.

        Raises:
            FormatError: codec or vocabulary in ``info`` are damaged, or do not belong together.
        """
        self.folder = folder
        self.info = info
        self.spec = CodecSpec.from_dict(info["codec"])
        self.vocabulary = Vocabulary.from_dict(info["vocabulary"])
        if self.vocabulary.spec != self.spec:
            raise FormatError(f"{folder / INDEX_NAME}: the vocabulary is of another codec than the dataset")
        self.tasks: tuple[str, ...] = tuple(info["tasks"])

    @property
    def splits(self) -> list[str]:
        """Names of the splits that have rows."""
        return list(self.info["splits"])

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The text tokenizer saved with the dataset; a transformers one is loaded on first use.

        Raises:
            FormatError: it is not the one the vocabulary was made for.
        """
        tokenizer = load_text_tokenizer(self.folder / TOKENIZER_FOLDER)
        if tokenizer.vocab_size != self.vocabulary.text_size:
            raise FormatError(
                f"{self.folder / TOKENIZER_FOLDER} has {tokenizer.vocab_size} ids, but the dataset was built with "
                f"{self.vocabulary.text_size}; build the dataset again"
            )
        return tokenizer

    def files(self, split: str) -> list[Path]:
        """The split's Parquet files in order.

        Raises:
            ConfigError: there is no such split.
        """
        if split not in self.info["splits"]:
            raise ConfigError(f"{self.folder} has no split {split!r}; it has {', '.join(self.splits)}")
        return [self.folder / entry["file"] for entry in self.info["splits"][split]["files"]]

    def table(self, split: str) -> pa.Table:
        """Read a whole split into memory as an Arrow table.

        Raises:
            ConfigError: there is no such split.
            FormatError: a file is missing or damaged.
        """
        import pyarrow as pa

        return pa.concat_tables([_open_part(path, self.spec).read() for path in self.files(split)])

    def rows(self, split: str, *, cache_bytes: int = CACHE_BYTES) -> DatasetRows:
        """Open a split for reading by index, keeping about ``cache_bytes`` of it in memory.

        Raises:
            ConfigError: there is no such split.
            FormatError: a file is missing, damaged, or has other rows than the index says.
        """
        rows = DatasetRows(self.files(split), self.spec, cache_bytes)
        expected = self.info["splits"][split]["rows"]
        if len(rows) != expected:
            raise FormatError(f"{self.folder}: split {split!r} has {len(rows)} rows, {INDEX_NAME} says {expected}")
        return rows


class DatasetRows:
    """The rows of one split by index. Row groups are decoded when needed, the last used ones are kept.

    Attributes:
        num_frames: int32 [rows], T of every row.
        num_text_tokens: int32 [rows].
        speakers: of every row; None where nobody said who it is.
    """

    def __init__(self, files: list[Path], spec: CodecSpec, cache_bytes: int) -> None:
        """Read the small columns of all ``files``.

        Raises:
            FormatError: a file is missing or damaged.
        """
        self._spec = spec
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[int, _Group] = OrderedDict()
        self._places: list[tuple[Path, int]] = []
        sizes: list[int] = []
        frames, tokens = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
        self.speakers: list[str | None] = []
        for path in files:
            part = _open_part(path, spec)
            for group in range(part.metadata.num_row_groups):
                self._places.append((path, group))
                sizes.append(part.metadata.row_group(group).num_rows)
            table = part.read(columns=["num_frames", "num_text_tokens", "speaker"])
            frames.append(table["num_frames"].to_numpy())
            tokens.append(table["num_text_tokens"].to_numpy())
            self.speakers += table["speaker"].to_pylist()
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.num_frames: NDArray[np.int32] = np.concatenate(frames)
        self.num_text_tokens: NDArray[np.int32] = np.concatenate(tokens)

    def __len__(self) -> int:
        """Rows of the split."""
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> DatasetRow:
        """Return row ``index``; a negative one counts from the end.

        Raises:
            IndexError: there is no such row.
        """
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        group = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self._group(group).row(position - int(self._starts[group]))

    def __iter__(self) -> Iterator[DatasetRow]:
        """Yield all rows in order."""
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the decoded groups behind: a worker process decodes its own."""
        return {**self.__dict__, "_cache": OrderedDict()}

    def _group(self, number: int) -> _Group:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        path, place = self._places[number]
        group = _Group(_open_part(path, self._spec).read_row_group(place), self._spec)
        self._cache[number] = group
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)
        return group


class _Group:
    """A decoded row group; codes and vectors as flat arrays, without a Python object per value."""

    def __init__(self, table: pa.Table, spec: CodecSpec) -> None:
        self._spec = spec
        self.nbytes = int(table.nbytes)
        self._table = table.combine_chunks()
        codes = self._table["codes"].chunk(0)
        self._offsets = codes.offsets.to_numpy()
        self._codes = codes.values.to_numpy()
        self._vectors = self._table["speaker_vector"].chunk(0) if spec.speaker_dim else None

    def row(self, place: int) -> DatasetRow:
        values = {
            name: self._table[name][place].as_py()
            for name in ("id", "task", "text", "question", "speaker", "num_frames", "num_text_tokens", "duration")
        }
        flat = self._codes[self._offsets[place] : self._offsets[place + 1]]
        frames, streams = values["num_frames"], self._spec.num_codebooks
        if len(flat) != frames * streams:
            raise FormatError(f"row {values['id']!r} has {len(flat)} codes; expected {frames} frames of {streams}")
        codes = np.ascontiguousarray(flat.reshape(frames, streams).T, dtype=np.int64)
        vector = None
        if self._vectors is not None and self._vectors[place].is_valid:
            vector = self._vectors[place].values.to_numpy().astype(np.float32)
        return DatasetRow(codes=codes, speaker_vector=vector, **values)


def open_dataset(folder: Path) -> DatasetFolder:
    """Open a folder that ``slmtk build-dataset`` has finished.

    Raises:
        FormatError: it is no dataset, is unfinished, or has a version that this slmtk does not read.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        raise FormatError(
            f"{folder} has no {INDEX_NAME}; expected a dataset made by `slmtk build-dataset` "
            "(if that was interrupted, run it again)"
        )
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(info, dict) or info.get("kind") != KIND or info.get("format") != FORMAT_VERSION:
        found = {key: info.get(key) for key in ("kind", "format")} if isinstance(info, dict) else type(info).__name__
        raise FormatError(f"{path} describes {found}; expected kind {KIND!r}, format {FORMAT_VERSION}")
    if missing := [key for key in ("codec", "vocabulary", "tokenizer", "tasks", "splits") if key not in info]:
        raise FormatError(f"{path} lacks {', '.join(missing)}")
    return DatasetFolder(folder, info)


def _open_part(path: Path, spec: CodecSpec) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        part = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError as error:
        raise FormatError(f"{path} is missing; build the dataset again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{path} is damaged: {error}; build the dataset again") from error
    schema = part.schema_arrow
    if not schema.equals(dataset_schema(spec)):
        raise FormatError(f"{path} has other columns than a dataset of codec {spec.name!r}: {schema.names}")
    stored = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    if stored.get("codec") != spec.to_dict():
        raise FormatError(f"{path} was written with another codec than {INDEX_NAME} says")
    return part

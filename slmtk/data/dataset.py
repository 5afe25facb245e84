"""The dataset on disk, between codes and training: its columns, and what its index says of it."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmtk.data.dataset_columns import INDEX_NAME, SpeakerVectors
from slmtk.data.dataset_rows import DatasetRows, open_part
from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError
from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
KIND = "dataset"
TOKENIZER_FOLDER = "tokenizer"
CACHE_BYTES = 2 << 30
"""Decoded row groups that a reader keeps: about 1,000 hours of three streams at 80 frames a second."""


class DatasetFolder:
    """A finished dataset.

    Attributes:
        folder: where it lies.
        info: its ``slmtk.json``.
        spec: the codec of all codes.
        vocabulary: the ids a model of this dataset uses.
        tasks: those that occur, of `slmtk.data.prompts.TASKS`.
        speakers: whose speaker vectors the rows have.
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
        self.speakers = SpeakerVectors.of_codec(self.spec)
        if "speaker" in info:
            self.speakers = _speaker_vectors(info["speaker"], folder / INDEX_NAME)

    @property
    def speaker_encoder(self) -> str:
        """Whose the rows' speaker vectors are: "codec", an encoder's name, or "" for none."""
        return self.speakers.encoder

    @property
    def speaker_dim(self) -> int:
        """D of the rows' speaker vectors, 0 for none."""
        return self.speakers.dim

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

        return pa.concat_tables([open_part(path, self.spec, self.speakers).read() for path in self.files(split)])

    def rows(self, split: str, *, cache_bytes: int = CACHE_BYTES) -> DatasetRows:
        """Open a split for reading by index, keeping about ``cache_bytes`` of it in memory.

        Raises:
            ConfigError: there is no such split.
            FormatError: a file is missing, damaged, or has other rows than the index says.
        """

        rows = DatasetRows(self.files(split), self.spec, self.speakers, cache_bytes)
        found, expected = rows.num_utterances, self.info["splits"][split]["rows"]
        if found != expected:
            raise FormatError(f"{self.folder}: split {split!r} has {found} rows, {INDEX_NAME} says {expected}")
        return rows


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


def _speaker_vectors(values: Any, path: Path) -> SpeakerVectors:
    try:
        return SpeakerVectors(str(values["encoder"]), int(values["dim"]), str(values.get("weights", "")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} does not say whose the speaker vectors are: {values!r}") from error

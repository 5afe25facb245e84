"""A Hugging Face dataset (hub id, `save_to_disk` folder or Parquet files) with a column of audio -> utterances.

Audio stays encoded in the dataset's memory-mapped Arrow files; worker processes read it there without `datasets`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from slmtk.corpus.base import Corpus, CorpusConfig, count_note
from slmtk.corpus.columns import Columns, as_text, choose_columns
from slmtk.errors import AudioError, CorpusError
from slmtk.spec import Utterance

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ArrowCell:
    """Where an utterance's audio lies.

    Attributes:
        file: an Arrow file of the dataset.
        row: in that file.
        column: of {bytes, path}.
    """

    file: str
    row: int
    column: str


def looks_like_hub_id(source: str) -> bool:
    """Tell whether ``source`` is of the form "owner/name"."""
    return _HUB_ID.fullmatch(source) is not None


def is_saved_dataset(folder: Path) -> bool:
    """Tell whether `datasets.save_to_disk` has written ``folder``."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def hub(source: Path | str, config: CorpusConfig, parquet: Sequence[Path] = ()) -> Corpus:
    """Read a dataset with a column of audio; columns are those of ``config`` or the likeliest.

    Args:
        source: hub id or folder of `save_to_disk`.
        config: columns, split and subset.
        parquet: files to read instead of ``source``.

    Raises:
        CorpusError: it cannot be loaded, has several splits and none was chosen, or has no column of audio.
    """
    dataset = _choose_split(_load(source, config, parquet), config.split, str(source))
    sounds, columns = _find_columns(dataset, config, str(source))
    cells = _cells(dataset, columns.audio, str(source))
    plain = dataset.select_columns([name for name in dataset.column_names if name not in sounds])
    rows = list(plain) if plain.column_names else [{} for _ in cells]
    utterances = []
    for number, (row, cell) in enumerate(zip(rows, cells, strict=True)):
        utterance_id, text, speaker, language = (
            as_text(row[name]) if name else None
            for name in (columns.id, columns.text, columns.speaker, columns.language)
        )
        if columns.id and utterance_id is None:
            raise CorpusError(f"{source}, row {number}: column {columns.id!r} is empty")
        name = utterance_id or f"{number:06d}"
        utterances.append(Utterance(name, None, text, speaker, language, columns.extra(row), locator=cell))
    untold = sum(utterance.text is None for utterance in utterances)
    return Corpus("hf", None, utterances, count_note(untold, "rows have no text"))


def open_cell(cell: ArrowCell) -> Path | io.BytesIO:
    """Return the encoded sound that ``cell`` points at: a file, or bytes in memory.

    Raises:
        AudioError: the cell is empty.
    """
    value = _read_table(cell.file).column(cell.column)[cell.row].as_py() or {}
    if value.get("bytes"):
        stream = io.BytesIO(value["bytes"])
        stream.name = value.get("path") or f"row {cell.row}"
        return stream
    if not value.get("path"):
        raise AudioError(f"row {cell.row} of {cell.file} holds no audio", kind="empty")
    path = Path(value["path"])
    return path if path.is_absolute() else Path(cell.file).parent / path


@lru_cache(maxsize=64)
def _read_table(file: str) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.memory_map(file)).read_all()


def _load(source: Path | str, config: CorpusConfig, parquet: Sequence[Path]) -> Any:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    try:
        if parquet:
            return datasets.load_dataset("parquet", data_files=[str(path) for path in parquet])
        if isinstance(source, Path):
            return datasets.load_from_disk(str(source))
        return datasets.load_dataset(source, config.subset, split=config.split)
    except (OSError, ValueError, RuntimeError, HfHubHTTPError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(f"cannot load the dataset {str(source)!r}: {error}") from error


def _choose_split(loaded: Any, split: str | None, source: str) -> Any:
    if not isinstance(loaded, dict):
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        asked = f"no split {split!r}" if split else "several splits"
        raise CorpusError(f"{source} has {asked}; choose one of {', '.join(loaded)} with --split")
    return loaded[split]


def _is_number(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith(("int", "uint", "float"))


def _is_encoded_audio(feature: Any) -> bool:
    return type(feature).__name__ == "Audio" or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})


def _find_columns(dataset: Any, config: CorpusConfig, source: str) -> tuple[list[str], Columns]:
    features = dict(dataset.features)
    numbers = [name for name, feature in features.items() if _is_number(feature)]
    sounds = [name for name, feature in features.items() if _is_encoded_audio(feature)]
    if config.audio_column is None and len(sounds) == 1:
        config = replace(config, audio_column=sounds[0])
    columns = choose_columns(list(features), numbers, config, source)
    if columns.audio not in sounds:
        raise CorpusError(
            f"{source}: column {columns.audio!r} is {type(features[columns.audio]).__name__}, not audio; "
            f"columns of audio: {', '.join(sounds) or 'none'}"
        )
    return sounds, columns


def _cells(dataset: Any, column: str, source: str) -> list[ArrowCell]:
    files = [entry["filename"] for entry in dataset.cache_files]
    cells = [ArrowCell(file, row, column) for file in files for row in range(_read_table(file).num_rows)]
    if len(cells) != len(dataset):
        raise CorpusError(f"{source} keeps {len(dataset)} of {len(cells)} rows by an index; save it with save_to_disk")
    return cells

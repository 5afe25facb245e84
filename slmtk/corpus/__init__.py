"""Recorded speech on disk or on the hub -> utterances: the first step of audio -> codes."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk import audio
from slmtk.corpus import commonvoice, folders, hub, libri, manifest, parquet, tars
from slmtk.corpus.base import LAYOUTS, Corpus, CorpusConfig, is_audio, list_files
from slmtk.errors import AudioError, CorpusError, FormatError
from slmtk.spec import Utterance, check_unique_ids

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LAYOUTS",
    "Corpus",
    "CorpusConfig",
    "find_utterances",
    "known_seconds",
    "load_audio",
    "open_audio",
    "relative_source",
]

_FOLDER_LAYOUTS: dict[str, Callable[[Path, Sequence[Path]], Corpus]] = {
    "librispeech": libri.librispeech,
    "libritts": libri.libritts,
    "vctk": folders.vctk,
    "ljspeech": folders.ljspeech,
    "folder": folders.plain,
}
_TAR_LAYOUTS = ("emilia", "webdataset")


def find_utterances(source: Path | str, config: CorpusConfig | None = None) -> Corpus:
    """Find the utterances of a folder, a manifest, tar shards, Parquet files or a Hugging Face dataset.

    Args:
        source: a path, or "owner/name" of a dataset of the hub if there is no such path.
        config: layout and columns; None finds out everything.

    Returns:
        Utterances sorted by id.

    Raises:
        CorpusError: nothing is there, the layout does not fit, or two utterances share an id.
    """
    config = config or CorpusConfig()
    corpus = _read(source, config)
    if not corpus.utterances:
        raise CorpusError(f"{source} holds no sound files ({', '.join(audio.SUFFIXES)})")
    utterances = sorted(corpus.utterances, key=lambda utterance: utterance.id)
    try:
        check_unique_ids(utterances)
    except FormatError as error:
        raise CorpusError(f"{source}: {error}; ids must be unique") from error
    if config.language is not None:
        utterances = [u if u.language else dataclasses.replace(u, language=config.language) for u in utterances]
    return dataclasses.replace(corpus, utterances=utterances)


def load_audio(utterance: Utterance, sample_rate: int) -> Tensor:
    """Return the samples of ``utterance``: float32 [S] in [-1, 1] at ``sample_rate`` Hz.

    Raises:
        AudioError: see `slmtk.audio.read`.
    """
    return audio.read_stream(open_audio(utterance), sample_rate)[0]


def open_audio(utterance: Utterance) -> Path | io.BytesIO:
    """Return where the encoded sound of ``utterance`` lies: a file, or bytes in memory.

    Raises:
        AudioError: the dataset's cell is empty, or the tar is not what it was.
    """
    if utterance.path is not None and isinstance(utterance.locator, tars.TarMember):
        return tars.open_member(utterance.path, utterance.locator)
    if utterance.path is not None:
        return utterance.path
    if isinstance(utterance.locator, parquet.ParquetCell):
        return parquet.open_cell(utterance.locator)
    if not isinstance(utterance.locator, hub.ArrowCell):
        raise AudioError(f"utterance {utterance.id!r} has neither a file nor a place in a dataset", kind="missing")
    return hub.open_cell(utterance.locator)


def known_seconds(utterance: Utterance) -> float | None:
    """Return the duration that the corpus itself states, so that the sound need not be read; None if it does not.

    Of Parquet files that are read where they lie it is an estimate.
    """
    return utterance.locator.seconds if isinstance(utterance.locator, (tars.TarMember, parquet.ParquetCell)) else None


def relative_source(utterance: Utterance, root: Path | None) -> str:
    """Name the sound file of ``utterance`` for other machines: relative to ``root`` where it lies in it."""
    if utterance.path is None:
        return f"row {utterance.locator.row}"
    path = utterance.path
    if isinstance(utterance.locator, tars.TarMember):
        path = path / utterance.locator.name
    if root is None:
        return str(path)
    relative = os.path.relpath(path, root)
    return str(path) if relative.startswith("..") else Path(relative).as_posix()


def _read(source: Path | str, config: CorpusConfig) -> Corpus:
    path = Path(source)
    if config.streaming:
        return _stream(path, str(source), config)
    if not path.exists():
        if config.layout in ("auto", "hf") and hub.looks_like_hub_id(str(source)):
            return hub.hub(str(source), config)
        raise CorpusError(f"{source} is not there; expected a folder, a manifest or the id of a dataset (owner/name)")
    return _read_file(path, config) if path.is_file() else _read_folder(path, config)


def _stream(path: Path, source: str, config: CorpusConfig) -> Corpus:
    if config.layout not in ("auto", "hf") or not (path.exists() or hub.looks_like_hub_id(source)):
        raise CorpusError(
            f"{source} with layout {config.layout!r}: --streaming takes Parquet files, or a dataset's id (owner/name)"
        )
    return parquet.stream(path if path.exists() else source, config)


def _read_file(path: Path, config: CorpusConfig) -> Corpus:
    suffix = path.suffix.lower()
    if suffix in manifest.SUFFIXES and config.layout in ("auto", "manifest"):
        return manifest.manifest(path, config)
    if tars.is_tar(path) and config.layout in ("auto", *_TAR_LAYOUTS):
        return tars.webdataset(path.parent, [path], config)
    if suffix == ".parquet" and config.layout in ("auto", "hf"):
        return hub.hub(path, config, [path])
    if is_audio(path) and config.layout in ("auto", "folder"):
        beside = [path.with_suffix(end) for end in (".txt", ".lab")]
        return folders.plain(path.parent, [path, *(text for text in beside if text.is_file())])
    raise CorpusError(
        f"{path} cannot be read with layout {config.layout!r}; expected a folder, a sound file, .tar, .parquet or "
        f"{', '.join(manifest.SUFFIXES)}"
    )


def _read_folder(root: Path, config: CorpusConfig) -> Corpus:
    if (root / "slmtk.json").is_file():
        raise CorpusError(f"{root} was written by slmtk (it has slmtk.json) and holds no corpus")
    if config.layout in ("auto", "hf") and hub.is_saved_dataset(root):
        return hub.hub(root, config)
    files = list_files(root)
    layout = config.layout if config.layout != "auto" else _guess(root, files)
    if layout == "manifest":
        return manifest.manifest(_only_table(root), config)
    if layout == "commonvoice":
        return commonvoice.commonvoice(root, files, config)
    if layout in _TAR_LAYOUTS:
        return tars.webdataset(root, [path for path in files if tars.is_tar(path)], config)
    if layout == "hf":
        parquet = [path for path in files if path.suffix == ".parquet"]
        if not parquet:
            raise CorpusError(f"{root} holds neither a saved Hugging Face dataset nor Parquet files")
        return hub.hub(root, config, parquet)
    return _FOLDER_LAYOUTS[layout](root, files)


def _guess(root: Path, files: Sequence[Path]) -> str:
    names = [path.name for path in files]
    if any(name.endswith(libri.TRANSCRIPT) for name in names):
        return "librispeech"
    if any(name.endswith((libri.NORMALIZED, libri.ORIGINAL)) for name in names):
        return "libritts"
    if folders.is_vctk(root):
        return "vctk"
    if folders.is_ljspeech(root):
        return "ljspeech"
    if commonvoice.tables(files):
        return "commonvoice"
    if any((root / name).is_file() for name in manifest.NAMES):
        return "manifest"
    if not any(is_audio(path) for path in files):
        if any(tars.is_tar(path) for path in files):
            return "webdataset"
        if any(name.endswith(".parquet") for name in names):
            return "hf"
    return "folder"


def _only_table(root: Path) -> Path:
    tables = [root / name for name in manifest.NAMES if (root / name).is_file()]
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise CorpusError(f"{root} should hold one of {', '.join(manifest.NAMES)}, it holds {found}; name the file")
    return tables[0]

"""What every corpus layout is asked for and answers: settings in, utterances with audio, text and speaker out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slmtk import audio
from slmtk.errors import ConfigError, CorpusError
from slmtk.spec import Utterance

LAYOUTS = (
    "auto",
    "librispeech",
    "libritts",
    "vctk",
    "ljspeech",
    "commonvoice",
    "emilia",
    "webdataset",
    "folder",
    "manifest",
    "hf",
)


@dataclass(frozen=True)
class CorpusConfig:
    """How to read a corpus; everything may be left to be found out."""

    layout: str = "auto"
    """One of `LAYOUTS`."""
    id_column: str | None = None
    """Manifest or Hugging Face dataset: the column of utterance ids; without one, names of files serve."""
    audio_column: str | None = None
    """The column of sound files' paths, or of audio."""
    text_column: str | None = None
    """The column of texts."""
    speaker_column: str | None = None
    """The column of speakers."""
    language_column: str | None = None
    """The column of languages."""
    keep_columns: tuple[str, ...] = ()
    """Columns of text to keep beside those above; columns of numbers are always kept."""
    split: str | None = None
    """Hugging Face dataset: which split. Common Voice: which table, for example "train"; None takes "validated"."""
    subset: str | None = None
    """Hugging Face dataset: which configuration of it."""
    streaming: bool = False
    """Parquet files, here or of a dataset of the hub: read them where they lie instead of fetching them first."""
    language: str | None = None
    """Language of the utterances whose language the corpus does not state."""

    def __post_init__(self) -> None:
        """Check the layout's name.

        Raises:
            ConfigError: it is none of `LAYOUTS`.
        """
        if self.layout not in LAYOUTS:
            raise ConfigError(f"no corpus layout {self.layout!r}; expected one of {', '.join(LAYOUTS)}")


@dataclass(frozen=True)
class Corpus:
    """Utterances, sorted by id, and how they were found.

    Attributes:
        layout: one of `LAYOUTS`, never "auto".
        root: the folder that relative sources start from; None for a dataset of the hub.
        utterances: sorted by id; ids are unique.
        notes: lines for the person who started the run, for example files without a transcript.
    """

    layout: str
    root: Path | None
    utterances: list[Utterance]
    notes: tuple[str, ...] = field(default=())

    def describe(self) -> str:
        """Return one line of what was found."""
        speakers = {u.speaker for u in self.utterances if u.speaker is not None}
        texts = sum(u.text is not None for u in self.utterances)
        return f"{self.layout}: {len(self.utterances)} utterances, {texts} with text, {len(speakers)} speakers"


def list_files(root: Path) -> list[Path]:
    """List all files under ``root``, sorted; hidden ones are left out, linked folders are followed once."""
    found: list[Path] = []
    visited: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def is_audio(path: Path) -> bool:
    """Tell by its suffix whether a file holds sound."""
    return path.suffix.lower() in audio.SUFFIXES


def read_text_file(path: Path) -> str:
    """Return a file's text without a byte-order mark.

    Raises:
        CorpusError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text: {error}; convert it, for example with iconv") from error


def squeeze(text: str) -> str | None:
    """Return ``text`` with blanks and line ends made single blanks; None if nothing is left."""
    return " ".join(text.split()) or None


def ids_from_paths(paths: Iterable[Path], root: Path) -> list[str]:
    """Names for files that have none: their stems, or, where two share a stem, the way from ``root`` joined by "-"."""
    paths = list(paths)
    if len({path.stem for path in paths}) == len(paths):
        return [path.stem for path in paths]
    return ["-".join(Path(os.path.relpath(path, root)).with_suffix("").parts) for path in paths]


def count_note(count: int, what: str) -> tuple[str, ...]:
    """Return a line "``count`` ``what``", or none if ``count`` is 0."""
    return (f"{count} {what}",) if count else ()

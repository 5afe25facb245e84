"""Tables of any make -> utterances: which column is the audio, the text, the speaker, and what else is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmtk.corpus.base import CorpusConfig
from slmtk.errors import CorpusError

# Names that columns go by in published corpora and manifests, the likeliest first; compared in lower case.
GUESSES = {
    "id": ("id", "utt_id", "utterance_id", "utt", "audio_id", "file_id", "key", "uttid", "segment_id"),
    "audio": (
        "audio",
        "path",
        "audio_path",
        "audio_filepath",
        "audio_file",
        "file_name",
        "filename",
        "file",
        "wav",
        "wav_path",
        "filepath",
        "location",
        "recording",
    ),
    "text": (
        "text",
        "text_normalized",
        "normalized_text",
        "transcript",
        "transcription",
        "sentence",
        "raw_text",
        "text_original",
        "word",
        "words",
    ),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "client_id", "speaker_name", "role"),
    "language": ("language", "lang", "locale"),
}


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns by what they hold; None where there is none."""

    id: str | None
    audio: str
    text: str | None
    speaker: str | None
    language: str | None
    numbers: tuple[str, ...]
    texts: tuple[str, ...]

    def extra(self, row: Mapping[str, Any]) -> dict[str, float | str]:
        """Return the further values of ``row``; empty ones are left out."""
        numbers = {name: as_number(row.get(name)) for name in self.numbers}
        texts = {name: as_text(row.get(name)) for name in self.texts}
        both: dict[str, float | str | None] = {**numbers, **texts}
        return {name: value for name, value in both.items() if value is not None}


def choose_columns(names: Sequence[str], numbers: Sequence[str], config: CorpusConfig, where: str) -> Columns:
    """Find the columns that ``config`` names, or the likeliest ones.

    Args:
        names: all columns of the table.
        numbers: those that hold numbers only.
        config: its ``*_column`` settings.
        where: the table, for messages.

    Raises:
        CorpusError: a column that was named is not there, or none looks like audio; the message lists what is.
    """
    found = {kind: _choose(kind, names, getattr(config, f"{kind}_column"), where) for kind in GUESSES}
    if found["audio"] is None:
        raise CorpusError(
            f"{where} has no column that looks like audio; it has {', '.join(names)}; name it with --audio-column"
        )
    for name in config.keep_columns:
        if name not in names:
            raise CorpusError(f"{where} has no column {name!r} to keep; it has {', '.join(names)}")
    used = set(found.values())
    return Columns(
        id=found["id"],
        audio=found["audio"],
        text=found["text"],
        speaker=found["speaker"],
        language=found["language"],
        numbers=tuple(name for name in numbers if name not in used),
        texts=tuple(name for name in config.keep_columns if name not in numbers and name not in used),
    )


def as_number(value: Any) -> float | None:
    """Return a finite number; None for anything else, the empty cell included."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def as_text(value: Any) -> str | None:
    """Return a cell as one line of text; None if it is empty."""
    return None if value is None else " ".join(str(value).split()) or None


def _choose(kind: str, names: Sequence[str], named: str | None, where: str) -> str | None:
    if named is not None:
        if named not in names:
            raise CorpusError(f"{where} has no column {named!r} (--{kind}-column); it has {', '.join(names)}")
        return named
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[guess] for guess in GUESSES[kind] if guess in lowered), None)


def json_row(text: str, where: str) -> dict[str, Any]:
    """Return the JSON object that ``text`` is; ``where`` it stands is for messages.

    Raises:
        CorpusError: it is no JSON, or no object.
    """
    try:
        row = json.loads(text)
    except ValueError as error:
        raise CorpusError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise CorpusError(f"{where} is {type(row).__name__}; expected an object with a key a column")
    return row

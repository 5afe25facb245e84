"""Recordings that a table of questions names or holds -> files, since voices and questions are heard from files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmtk import audio
from slmtk.errors import FormatError

_MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"FORM": ".aiff"}


def is_there(value: Any) -> bool:
    """Tell whether a cell names or holds a recording."""
    return bool(value.get("bytes") or value.get("path")) if isinstance(value, Mapping) else bool(value)


def file_of(value: Any, folder: Path | None, clips: Path | None, where: str) -> Path:
    """Return the file of a recording.

    Args:
        value: a path, or {"bytes", "path"} as datasets hold recordings.
        folder: that paths are relative to; None if the table is on the hub.
        clips: where recordings that lie in the table are written, under their digest; None writes nothing.
        where: the cell, for messages.

    Raises:
        FormatError: the file is not there, or the cell is empty.
    """
    if isinstance(value, Mapping) and value.get("bytes"):
        return _written(value["bytes"], str(value.get("path") or ""), clips)
    name = value.get("path") if isinstance(value, Mapping) else value
    if not name:
        raise FormatError(f"{where} holds no recording")
    path = (folder or Path()) / str(name)
    if path.is_file():
        return path
    if folder is None:
        raise FormatError(
            f"{where} names the file {str(name)!r} and does not hold its sound; fetch the dataset's repository "
            "(`hf download --repo-type dataset`), unpack its archives and name the folder"
        )
    raise FormatError(f"{where}: no recording at {path}")


def _written(data: bytes, name: str, clips: Path | None) -> Path:
    suffix = Path(name).suffix.lower()
    if suffix not in audio.SUFFIXES:
        suffix = next((suffix for magic, suffix in _MAGIC.items() if data.startswith(magic)), ".wav")
    path = (clips or Path()) / f"{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
    if clips is not None and not path.is_file():
        clips.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        os.replace(temporary, path)
    return path

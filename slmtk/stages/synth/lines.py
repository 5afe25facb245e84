"""One line's speech, on its way from whoever spoke it to the finished folder: a file of its own, whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from slmtk.errors import FormatError
from slmtk.shards import CodesRow
from slmtk.spec import CodecSpec

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class SpokenLine:
    """What came of one line.

    Attributes:
        key: of its `Job`.
        record: its line of synth.jsonl.
        timing: its line of timings.jsonl: what a second try would not give again.
        rows: its codes, a row for each piece that was spoken.
        spec: of their codec.
        wav: float32 [S], all pieces with their pauses; empty in a line that was read back.
    """

    key: str
    record: Mapping[str, Any]
    timing: Mapping[str, Any]
    rows: tuple[CodesRow, ...]
    spec: CodecSpec
    wav: NDArray[np.float32]

    @property
    def id(self) -> str:
        """Of the line."""
        return str(self.record["id"])


def line_name(line_id: str, key: str) -> str:
    """Name of the file of a line."""
    return f"{line_id}@{key}{_SUFFIX}"


def key_of(path: Path) -> tuple[str, str] | None:
    """Id and key in a line file's name; None for another file's."""
    line_id, at, key = path.name.removesuffix(_SUFFIX).rpartition("@")
    return (line_id, key) if at and path.suffix == _SUFFIX and not path.name.startswith(".") else None


def write_line(folder: Path, line: SpokenLine) -> None:
    """Write all but the audio, under a temporary name first."""
    tensors: dict[str, NDArray[Any]] = {f"codes.{place}": row.codes for place, row in enumerate(line.rows)}
    vector = line.rows[0].speaker_vector if line.rows else None
    if vector is not None:
        tensors["speaker"] = vector
    rows = [
        {"id": row.id, "duration": row.duration, "text": row.text, "speaker": row.speaker, "source": row.source}
        | {"extra": dict(row.extra)}
        for row in line.rows
    ]
    head = {"record": line.record, "timing": line.timing, "rows": rows, "codec": line.spec.to_dict()}
    path = folder / line_name(line.id, line.key)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(save(tensors, {"line": json.dumps(head)}))
    os.replace(temporary, path)


def read_line(path: Path) -> SpokenLine:
    """Read what `write_line` wrote.

    Raises:
        FormatError: the file is damaged.
        FileNotFoundError: it is gone.
    """
    try:
        with safe_open(path, "np") as file:
            head = json.loads(file.metadata()["line"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged ({error}); delete it and run the same command again") from error
    rows = tuple(
        CodesRow(codes=tensors[f"codes.{place}"], speaker_vector=tensors.get("speaker"), **row)
        for place, row in enumerate(head["rows"])
    )
    known = key_of(path)
    assert known is not None  # only files that `key_of` has named are read
    spec = CodecSpec.from_dict(head["codec"])
    return SpokenLine(known[1], head["record"], head["timing"], rows, spec, np.zeros(0, np.float32))

"""One utterance's codes as they lie between codec and dataset, and the Parquet schema that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk.errors import FormatError
from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
INDEX_NAME = "slmtk.json"
ERRORS_NAME = "errors.jsonl"
METADATA_KEY = b"slmtk"
TEXT_COLUMNS = ("id", "text", "speaker", "language", "source", "source_sha1")


@dataclass(frozen=True)
class CodesRow:
    """One utterance's codes and what is known of it.

    Attributes:
        id: unique in its folder.
        codes: int32 [K, T].
        duration: seconds of the audio, without the padding of the last frame.
        text: what is said.
        speaker: the corpus's or the reference's name.
        language: as the corpus states it.
        source: the sound file, relative to the corpus's folder where it lies in it.
        source_sha1: hex digest of that file, "" if there is none.
        speaker_vector: float32 [D] if the codec has speaker vectors.
        extra: further columns, for example quality scores.
    """

    id: str
    codes: np.ndarray[Any, np.dtype[np.int32]]
    duration: float
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    source: str = ""
    source_sha1: str = ""
    speaker_vector: np.ndarray[Any, np.dtype[np.float32]] | None = None
    extra: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardInfo:
    """What the index says of one part.

    Attributes:
        file: name in the folder.
        rows: utterances.
        frames: of all rows.
        seconds: of all rows.
        bytes: size of the file.
        sha256: of the file.
    """

    file: str
    rows: int
    frames: int
    seconds: float
    bytes: int
    sha256: str


def check_row(row: CodesRow, spec: CodecSpec) -> None:
    """Raise if ``row`` cannot come from the codec of ``spec``.

    Raises:
        FormatError: wrong shape, a code out of its codebook's range, or a missing, misshapen or non-finite speaker
            vector.
    """
    where = f"utterance {row.id!r}"
    if row.codes.ndim != 2 or row.codes.shape[0] != spec.num_codebooks:
        raise FormatError(f"{where}: codes are {list(row.codes.shape)}; {spec.name} has [{spec.num_codebooks}, T]")
    if row.codes.size:
        low, high = row.codes.min(axis=1), row.codes.max(axis=1)
        for stream, least, most in zip(spec.streams, low, high, strict=True):
            if least < 0 or most >= stream.size:
                raise FormatError(f"{where}: stream {stream.name!r} holds {least}..{most}, not 0..{stream.size - 1}")
    vector = row.speaker_vector
    if spec.speaker_dim and (vector is None or vector.shape != (spec.speaker_dim,) or not np.isfinite(vector).all()):
        found = "none" if vector is None else f"{vector.dtype} {list(vector.shape)}"
        raise FormatError(f"{where}: speaker vector is {found}; {spec.name} needs {spec.speaker_dim} finite numbers")


def find_extra_columns(rows: Sequence[CodesRow]) -> dict[str, type]:
    """Names and types (float or str) of the extra columns of ``rows``; a column with any text is text."""
    found: dict[str, type] = {}
    for row in rows:
        for name, value in row.extra.items():
            found[name] = str if isinstance(value, str) else found.get(name, float)
    return dict(sorted(found.items()))


def make_schema(spec: CodecSpec, extra_columns: Mapping[str, type]) -> pa.Schema:
    """Return the columns of a part, in order.

    Raises:
        FormatError: an extra column has the name of one of the format's.
    """
    import pyarrow as pa

    code_type = pa.uint32() if max(spec.codebook_sizes) > 65_536 else pa.uint16()
    columns = [(name, pa.string()) for name in TEXT_COLUMNS]
    columns += [("duration", pa.float32()), ("num_frames", pa.int32()), ("codes", pa.list_(code_type))]
    if spec.speaker_dim:
        columns.append(("speaker_vector", pa.list_(pa.float32(), spec.speaker_dim)))
    taken = {name for name, _ in columns} | {"speaker_vector"}
    for name, kind in extra_columns.items():
        if name in taken:
            raise FormatError(f"an extra column is called {name!r}, which is a column of the format; rename it")
        columns.append((name, pa.string() if kind is str else pa.float64()))
    return pa.schema(columns)


def to_table(spec: CodecSpec, rows: Sequence[CodesRow], schema: pa.Schema) -> pa.Table:
    """Put ``rows`` into columns: codes become frame-major lists [T * K]."""
    import pyarrow as pa

    columns = [pa.array([getattr(row, name) for row in rows], pa.string()) for name in TEXT_COLUMNS]
    columns.append(pa.array([row.duration for row in rows], pa.float32()))
    columns.append(pa.array([row.codes.shape[1] for row in rows], pa.int32()))
    columns.append(_codes_column(rows, schema.field("codes").type))
    if spec.speaker_dim:
        vectors = np.zeros((len(rows), spec.speaker_dim), np.float32)
        for place, row in enumerate(rows):
            vectors[place] = row.speaker_vector
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), spec.speaker_dim))
    for name in schema.names[len(columns) :]:
        convert = str if pa.types.is_string(schema.field(name).type) else float
        values = (row.extra.get(name) for row in rows)
        columns.append(pa.array([None if v is None else convert(v) for v in values], schema.field(name).type))
    return pa.Table.from_arrays(columns, schema=schema)


def _codes_column(rows: Sequence[CodesRow], kind: pa.ListType) -> pa.ListArray:
    import pyarrow as pa

    dtype = np.uint32 if kind.value_type == pa.uint32() else np.uint16
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum([row.codes.size for row in rows], out=offsets[1:])
    values = np.empty(int(offsets[-1]), dtype)
    for row, start, end in zip(rows, offsets[:-1], offsets[1:], strict=True):
        values[start:end] = row.codes.T.reshape(-1)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=kind)

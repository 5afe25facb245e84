"""Codes -> Parquet parts and their index. Same rows, same bytes: the writer's settings are pinned here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmtk.config import write_json
from slmtk.shards.rows import (
    FORMAT_VERSION,
    INDEX_NAME,
    METADATA_KEY,
    CodesRow,
    ShardInfo,
    check_row,
    find_extra_columns,
    make_schema,
    to_table,
)
from slmtk.spec import CodecSpec

# A code is an INT32 to Parquet. Byte planes (low bytes, then high bytes, ...) under zstd's entropy coder cost what the
# codes' distribution is worth: ten bits for 1,024 codes used evenly, less for speech. Dictionary indices, bit-packed,
# are ten bits whatever the distribution, and no compressor finds anything in them (benchmarks/LOG.md).
_PLANES = ("codes", "speaker_vector")
_DICTIONARY_COLUMNS = ("speaker", "language")
# Lengths and characters apart, under brotli: an eighth less than zstd makes of texts and digests of an hour of speech.
_LENGTHS_APART = ("text", "source_sha1")
_BROTLI = ("id", "text", "source", "source_sha1")
_BROTLI_LEVEL = 11
_ROW_GROUP = 16_384
_PAGE_BYTES = 4 << 20
_ZSTD_LEVEL = 19


def part_name(number: int) -> str:
    """File name of part ``number``, counted from 0."""
    return f"part-{number:05d}.parquet"


def write_shard(
    path: Path,
    spec: CodecSpec,
    rows: Sequence[CodesRow],
    *,
    extra_columns: Mapping[str, type] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ShardInfo:
    """Write one part under a temporary name, then rename: the file is whole or absent.

    Args:
        path: of the part, usually ``folder / part_name(n)``; missing folders are made.
        spec: the codec; stored in the file.
        rows: in the order in which they are to lie.
        extra_columns: name -> float or str, of the columns beyond the format's; None takes those found in ``rows``.
            All parts of a folder need the same ones.
        metadata: further JSON values to store beside the spec.

    Returns:
        What the index needs.

    Raises:
        FormatError: a row does not fit ``spec``, or an extra column has the name of one of the format's.
    """
    import pyarrow.parquet as pq

    for row in rows:
        check_row(row, spec)
    schema = make_schema(spec, extra_columns if extra_columns is not None else find_extra_columns(rows))
    stored = {**(metadata or {}), "format": FORMAT_VERSION, "codec": spec.to_dict()}
    schema = schema.with_metadata({METADATA_KEY: json.dumps(stored, sort_keys=True, ensure_ascii=False).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(to_table(spec, rows, schema), temporary, **_writer_settings(schema.names))
    os.replace(temporary, path)
    return shard_info(path, rows)


def shard_info(path: Path, rows: Sequence[CodesRow]) -> ShardInfo:
    """Describe the part at ``path``, which holds ``rows``."""
    frames = sum(row.codes.shape[1] for row in rows)
    seconds = round(sum(float(np.float32(row.duration)) for row in rows), 3)
    return ShardInfo(path.name, len(rows), frames, seconds, path.stat().st_size, file_sha256(path))


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_index(
    out: Path, spec: CodecSpec, config: Mapping[str, Any], fingerprint: str, shards: list[ShardInfo], failures: int
) -> None:
    """Write ``slmtk.json``, which makes ``out`` a finished folder of codes: call it when all parts are there.

    Args:
        out: the folder.
        spec: the codec of every part.
        config: the settings that made the codes, ready for JSON.
        fingerprint: of the settings and inputs; a run with another one is another run.
        shards: the parts in order.
        failures: how many inputs failed; their lines are in ``errors.jsonl``.
    """
    totals = {
        "rows": sum(shard.rows for shard in shards),
        "frames": sum(shard.frames for shard in shards),
        "seconds": round(sum(shard.seconds for shard in shards), 3),
        "failures": failures,
    }
    head = {"format": FORMAT_VERSION, "kind": "codes", "codec": spec.to_dict(), **totals}
    write_json(out / INDEX_NAME, {**head, "fingerprint": fingerprint, "config": config, "shards": shards})


def _writer_settings(columns: Sequence[str]) -> dict[str, Any]:
    encoding = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in _PLANES if name in columns}
    encoding |= {name: "DELTA_LENGTH_BYTE_ARRAY" for name in _LENGTHS_APART if name in columns}
    paths = {name: f"{name}.list.element" if name in _PLANES else name for name in columns}
    brotli = {name for name in _BROTLI if name in columns}
    return {
        "version": "2.6",
        "data_page_version": "1.0",
        "data_page_size": _PAGE_BYTES,
        "compression": {path: "brotli" if name in brotli else "zstd" for name, path in paths.items()},
        "compression_level": {path: _BROTLI_LEVEL if name in brotli else _ZSTD_LEVEL for name, path in paths.items()},
        "use_dictionary": list(_DICTIONARY_COLUMNS),
        "column_encoding": encoding,
        "write_statistics": ["id", "duration", "num_frames"],
        "row_group_size": _ROW_GROUP,
        "store_schema": True,
    }

"""Is a folder of codes whole and sound? Reads everything that the index speaks of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slmtk.errors import SlmtkError
from slmtk.shards.reader import CodesFolder, open_codes, read_part
from slmtk.shards.rows import ERRORS_NAME, CodesRow, check_row
from slmtk.shards.writer import file_sha256, shard_info
from slmtk.spec import CodecSpec

_MOST_PROBLEMS = 100


def verify(folder: Path) -> list[str]:
    """Check a folder of codes against its index, its parts' bytes and every row against the codec.

    Returns:
        One line a problem (the first hundred), empty if the folder is sound.
    """
    try:
        codes = open_codes(folder)
    except SlmtkError as error:
        return [str(error)]
    problems = _check_files(codes)
    seen: set[str] = set()
    for part, entry in zip(codes.parts, codes.index["shards"], strict=True):
        problems += _check_part(part, entry, codes.spec, seen)
    totals = {"rows": len(seen), "frames": sum(int(entry["frames"]) for entry in codes.index["shards"])}
    if not problems:
        problems += [
            f"slmtk.json counts {codes.index[key]} {key}, the parts hold {found}"
            for key, found in totals.items()
            if codes.index[key] != found
        ]
    return problems[:_MOST_PROBLEMS]


def _check_files(codes: CodesFolder) -> list[str]:
    listed = {part.name for part in codes.parts}
    present = {path.name for path in codes.folder.glob("part-*.parquet")}
    problems = [f"{name} is in the folder but not in the index" for name in sorted(present - listed)]
    failures = int(codes.index.get("failures", 0))
    errors = codes.folder / ERRORS_NAME
    lines = len(errors.read_text(encoding="utf-8").splitlines()) if errors.is_file() else 0
    if lines != failures:
        problems.append(f"the index counts {failures} failures, {ERRORS_NAME} has {lines} lines")
    return problems


def _check_part(part: Path, entry: dict[str, Any], spec: CodecSpec, seen: set[str]) -> list[str]:
    if not part.is_file():
        return [f"{part.name} is missing"]
    if file_sha256(part) != entry["sha256"]:
        return [f"{part.name} has other bytes than the index says: it was damaged or replaced"]
    problems: list[str] = []
    rows: list[CodesRow] = []
    try:
        for row in read_part(part, spec):
            problems += _check_row(row, spec, seen)
            rows.append(row)
    except SlmtkError as error:
        return [*problems, str(error)]
    found = shard_info(part, rows)
    if (found.rows, found.frames) != (entry["rows"], entry["frames"]):
        problems.append(
            f"{part.name} holds {found.rows} rows and {found.frames} frames; "
            f"the index says {entry['rows']} and {entry['frames']}"
        )
    return problems


def _check_row(row: CodesRow, spec: CodecSpec, seen: set[str]) -> list[str]:
    problems = [f"utterance {row.id!r} occurs twice"] if row.id in seen else []
    seen.add(row.id)
    try:
        check_row(row, spec)
    except SlmtkError as error:
        problems.append(str(error))
    frames, seconds = row.codes.shape[1], row.duration
    # Codecs pad to whole frames; some drop or add a frame at the end.
    if abs(frames - seconds * spec.frame_rate) > 2:
        problems.append(f"utterance {row.id!r} has {frames} frames for {seconds:.3f} s at {spec.frame_rate:g} frames/s")
    return problems

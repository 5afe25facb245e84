"""Which utterance goes to which part of a codes folder, and whether a begun folder may be gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk import audio
from slmtk.config import fingerprint, write_json
from slmtk.corpus import Corpus, open_audio, relative_source
from slmtk.errors import AudioError, ConfigError, SlmtkError
from slmtk.progress import Progress
from slmtk.shards import CodesRow, part_name, read_metadata, read_part
from slmtk.shards.rows import ERRORS_NAME, INDEX_NAME
from slmtk.spec import CodecSpec, Utterance

RUN_NAME = ".slmtk-run.json"
_CHUNK_SECONDS = 30.0
_CHUNK_ROWS = 64


@dataclass(frozen=True)
class Part:
    """The utterances of one Parquet part.

    Attributes:
        number: from 0.
        utterances: sorted by id.
        seconds: duration of each as its header says, 0 if it has none that can be read.
    """

    number: int
    utterances: tuple[Utterance, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Chunk:
    """What a worker is handed at once: some utterances of one part, those from ``first`` on."""

    part: int
    first: int
    utterances: tuple[Utterance, ...]


@dataclass(frozen=True)
class Plan:
    """All parts of a run, and what makes it this run.

    Attributes:
        parts: in order.
        run: codec, options and inputs: everything that the bytes of the result depend on.
        fingerprint: of ``run``.
    """

    parts: tuple[Part, ...]
    run: Mapping[str, Any]
    fingerprint: str


def make_plan(corpus: Corpus, spec: CodecSpec, shard_hours: float, progress: Progress) -> Plan:
    """Read every header and deal the utterances out, by ids and durations alone.

    A part ends when it holds ``shard_hours``; so it depends on neither workers nor interruptions.
    """
    seconds = _read_durations(corpus, progress)
    parts: list[Part] = []
    start, held = 0, 0.0
    for place, duration in enumerate(seconds):
        held += duration
        if held >= shard_hours * 3600 or place == len(seconds) - 1:
            span = slice(start, place + 1)
            parts.append(Part(len(parts), tuple(corpus.utterances[span]), tuple(seconds[span])))
            start, held = place + 1, 0.0
    run = {"codec": spec.to_dict(), "shard_hours": shard_hours, "inputs": _describe_inputs(corpus, seconds)}
    return Plan(tuple(parts), run, fingerprint(run))


def chunks(parts: Sequence[Part]) -> Iterator[Chunk]:
    """Cut parts, in order, into pieces of about half a minute of audio."""
    for part in parts:
        first, held = 0, 0.0
        for place, duration in enumerate(part.seconds):
            held += duration
            last = place == len(part.seconds) - 1
            if held >= _CHUNK_SECONDS or place + 1 - first >= _CHUNK_ROWS or last:
                yield Chunk(part.number, first, part.utterances[first : place + 1])
                first, held = place + 1, 0.0


def begin(out: Path, plan: Plan, *, overwrite: bool) -> None:
    """Make ``out`` ready for the parts of ``plan``, keeping those of an earlier try of the same run.

    Raises:
        ConfigError: ``out`` holds parts of another run; the message says what differs.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; expected a folder to write codes into")
    if overwrite:
        remove(out)
    path = out / RUN_NAME
    if path.is_file():
        _refuse_other(out, json.loads(path.read_text(encoding="utf-8")), plan)
    elif any(out.glob("part-*.parquet")) or (out / INDEX_NAME).exists():
        raise ConfigError(f"{out} holds files that `slmtk tokenize` did not write; use another OUT")
    write_json(path, plan.run)


def remove(out: Path) -> None:
    """Delete what `tokenize` writes into ``out``, and nothing else."""
    for path in [*out.glob("part-*.parquet"), out / INDEX_NAME, out / ERRORS_NAME, out / RUN_NAME]:
        path.unlink(missing_ok=True)


def tidy(out: Path) -> None:
    """Delete the half-written files of killed runs; call it when ``out`` is finished."""
    for path in out.glob(".*.tmp"):
        if path.name.startswith((".part-", f".{INDEX_NAME}.", f".{ERRORS_NAME}.", f".{RUN_NAME}.")):
            path.unlink(missing_ok=True)


def reusable_rows(out: Path, part: Part, plan: Plan, spec: CodecSpec) -> tuple[list[CodesRow], list[Any]] | None:
    """Return the rows and failures of a part that an earlier try has written; None if it must be made (again)."""
    path = out / part_name(part.number)
    if not path.is_file():
        return None
    try:
        metadata = read_metadata(path)
        rows = list(read_part(path, spec))
    except SlmtkError:
        return None
    failures = metadata.get("failures", [])
    ids = sorted([*(row.id for row in rows), *(failure["id"] for failure in failures)])
    if metadata.get("fingerprint") != plan.fingerprint or ids != [utterance.id for utterance in part.utterances]:
        return None
    return rows, failures


def _read_durations(corpus: Corpus, progress: Progress) -> list[float]:
    def duration(utterance: Utterance) -> float:
        try:
            return audio.info(open_audio(utterance)).seconds
        except AudioError:
            return 0.0  # reported when it is its turn to be encoded

    seconds = []
    count = len(corpus.utterances)
    with progress.task("reading headers", count, "files") as task, ThreadPoolExecutor(4) as threads:
        for found in threads.map(duration, corpus.utterances):
            seconds.append(found)
            task.advance(1)
    return seconds


def _describe_inputs(corpus: Corpus, seconds: Sequence[float]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for utterance, duration in zip(corpus.utterances, seconds, strict=True):
        known = (utterance.text, utterance.speaker, utterance.language, sorted(utterance.extra.items()))
        line = [utterance.id, relative_source(utterance, corpus.root), round(duration, 4), *known]
        digest.update(json.dumps(line).encode() + b"\n")
    return {"utterances": len(seconds), "seconds": round(sum(seconds), 3), "digest": digest.hexdigest()[:16]}


def _refuse_other(out: Path, run: Mapping[str, Any], plan: Plan) -> None:
    before, now = _flatten(run), _flatten(plan.run)
    differences = [
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    if differences:
        raise ConfigError(
            f"{out} was begun by another run: {'; '.join(differences)}; use another OUT, or --overwrite to start anew"
        )


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat

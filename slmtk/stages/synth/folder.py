"""The folder that `synth` writes into, alone or with other shards: begun, gone on with, and put together at the end.

While lines are spoken each lies in a file of its own in a hidden folder, so that whatever interrupts a run costs no
line that was finished. Whoever finds all lines there puts them together: codes in parts, an index, a line each in
synth.jsonl and timings.jsonl. All but the latter are the same bytes however the lines came together.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmtk import audio
from slmtk.config import changes, fingerprint, write_json, write_text
from slmtk.errors import ConfigError, FormatError, SlmtkError
from slmtk.shards import CodesRow, ShardInfo, open_codes, part_name, write_index, write_shard
from slmtk.shards.rows import INDEX_NAME
from slmtk.spec import CodecSpec
from slmtk.stages.synth.lines import SpokenLine, key_of, line_name, read_line, write_line
from slmtk.stages.synth.planned import Job

LINES_NAME, TIMINGS_NAME, REPORT_NAME = "synth.jsonl", "timings.jsonl", "report.json"
_RUN_NAME = ".slmtk-run.json"
_HELD = ".lines"
_PART_LINES = 4096
_EXTRA = {"reason": str, "steps": float}
_NOTHING = np.zeros(0, np.float32)


class SpeechFolder:
    """OUT, as one run sees it."""

    def __init__(self, out: Path, settings: Mapping[str, Any], jobs: Sequence[Job], *, overwrite: bool) -> None:
        """Make ``out`` ready for the speech of ``jobs``, keeping what an earlier try has spoken.

        Args:
            out: the folder.
            settings: of the run, `synth_plan.run_settings`.
            jobs: of the whole run, whichever shard of it this is.
            overwrite: delete what is there first.

        Raises:
            ConfigError: ``out`` holds speech by other settings, or lines that this run does not have.
            FormatError: ``out`` is not empty and holds no speech.
        """
        self.out, self.settings, self.jobs = out, settings, jobs
        self.held = out / _HELD
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file; expected a folder to write speech into")
        if overwrite and ((out / _RUN_NAME).is_file() or (out / LINES_NAME).is_file()):
            _remove(out)
        # Looked for first: another shard may be beginning, and it writes its settings before anything else.
        strange = out.exists() and any(not path.name.startswith(".") for path in out.iterdir())
        if (out / _RUN_NAME).is_file():
            _refuse_other(out, json.loads((out / _RUN_NAME).read_text(encoding="utf-8")), settings)
        elif strange:
            raise _stranger(out)
        else:
            write_json(out / _RUN_NAME, settings)
        self.finished = _finished_keys(out)
        self._refuse_lost_lines()
        (out / "wav").mkdir(exist_ok=True)

    def is_spoken(self, job: Job) -> bool:
        """Whether an earlier try, or another shard, has spoken the line."""
        return self.finished.get(job.line.id) == job.key or self._path(job).is_file()

    def keep(self, line: SpokenLine) -> None:
        """Write a line that was just spoken: first the audio, then what says that it is there."""
        if line.record["wav"] is not None:
            audio.write(self.out / str(line.record["wav"]), torch.as_tensor(line.wav), line.spec.sample_rate)
        write_line(self.held, line)

    def put_together(self, source: str) -> int:
        """Write what makes the folder whole, if all lines are there.

        Args:
            source: as the user named the texts.

        Returns:
            how many lines are not there yet; 0 if the folder is whole.
        """
        self.finished = _finished_keys(self.out)  # by another shard, perhaps
        missing = sum(not self.is_spoken(job) for job in self.jobs)
        if missing:
            return missing
        if not self.is_whole():
            try:
                self._unpack()
                self._assemble(source)
            except FileNotFoundError:
                # Another shard, which also found all lines there, was faster and has tidied up.
                if not (self.out / INDEX_NAME).is_file():
                    raise
            self.finished = _finished_keys(self.out)
        shutil.rmtree(self.held, ignore_errors=True)
        return 0

    def is_whole(self) -> bool:
        """Whether exactly these lines have been put together."""
        return list(self.finished.items()) == [(job.line.id, job.key) for job in self.jobs]

    def records(self, jobs: Sequence[Job]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield record and timing of lines that are there, in the order of ``jobs``."""
        whole: dict[str, dict[str, Any]] = {}
        timings: dict[str, dict[str, Any]] = {}
        for job in jobs:
            try:
                line = read_line(self._path(job))
                yield dict(line.record), dict(line.timing)
                continue
            except FileNotFoundError:
                if not whole:  # put together before this run, or by another shard just now
                    whole, timings = _by_id(self.out / LINES_NAME), _by_id(self.out / TIMINGS_NAME)
            yield whole[job.line.id], timings[job.line.id]

    def _path(self, job: Job) -> Path:
        return self.held / line_name(job.line.id, job.key)

    def _refuse_lost_lines(self) -> None:
        """A run may add lines to a folder and put them in another order, but not drop what somebody has paid for."""
        keys = {job.key for job in self.jobs}
        ids = {job.line.id for job in self.jobs}
        held = filter(None, map(key_of, sorted(self.held.glob("*")))) if self.held.is_dir() else iter(())
        for line_id, key in [*self.finished.items(), *held]:
            if key not in keys:
                why = "with another text or voice" if line_id in ids else "which is not among these texts"
                raise ConfigError(
                    f"{self.out} holds {line_id!r}, {why}; name another OUT, or --overwrite to delete what is there"
                )

    def _unpack(self) -> None:
        """Give the lines of a finished folder a file each again, so that all can be put together anew."""
        wanted = {job.line.id for job in self.jobs if not self._path(job).is_file()} & self.finished.keys()
        if not wanted:
            return
        codes = open_codes(self.out)
        records, timings = _by_id(self.out / LINES_NAME), _by_id(self.out / TIMINGS_NAME)
        rows: dict[str, list[CodesRow]] = {line_id: [] for line_id in wanted}
        for row in codes.rows():
            line_id = row.id.partition("@")[0]
            if line_id in wanted:
                rows[line_id].append(row)
        for line_id, own in rows.items():
            timing = timings.get(line_id, {})
            line = SpokenLine(self.finished[line_id], records[line_id], timing, tuple(own), codes.spec, _NOTHING)
            write_line(self.held, line)

    def _assemble(self, source: str) -> None:
        work = self.out / f".whole-{secrets.token_hex(4)}"
        try:
            shards, spec = self._write_parts(work)
            settings = {"command": "synth", "source": source, **self.settings}
            keys = [job.key for job in self.jobs]
            write_index(work, spec, settings, fingerprint(keys), shards, 0)
            # The index of an earlier run must not describe files that are being replaced.
            (self.out / INDEX_NAME).unlink(missing_ok=True)
            for shard in shards:
                os.replace(work / shard.file, self.out / shard.file)
            for name in (LINES_NAME, TIMINGS_NAME, INDEX_NAME):
                os.replace(work / name, self.out / name)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _write_parts(self, work: Path) -> tuple[list[ShardInfo], CodecSpec]:
        shards: list[ShardInfo] = []
        records, timings = [], []
        spec: CodecSpec | None = None
        for first in range(0, len(self.jobs), _PART_LINES):
            lines = [read_line(self._path(job)) for job in self.jobs[first : first + _PART_LINES]]
            spec = spec or lines[0].spec
            rows = [row for line in lines for row in line.rows]
            shards.append(write_shard(work / part_name(len(shards)), spec, rows, extra_columns=_EXTRA))
            records += [json.dumps(line.record, ensure_ascii=False) + "\n" for line in lines]
            timings += [json.dumps(line.timing, ensure_ascii=False) + "\n" for line in lines]
        assert spec is not None  # there is no run without lines
        write_text(work / LINES_NAME, "".join(records))
        write_text(work / TIMINGS_NAME, "".join(timings))
        return shards, spec


def _by_id(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {record["id"]: record for record in records}


def _finished_keys(out: Path) -> dict[str, str]:
    """Key of every line of a finished folder, by id, in order; none of an unfinished one."""
    if not (out / INDEX_NAME).is_file():
        return {}
    return {line_id: str(record.get("key")) for line_id, record in _by_id(out / LINES_NAME).items()}


def _stranger(out: Path) -> SlmtkError:
    if not (out / LINES_NAME).is_file():
        return FormatError(f"{out} is not empty and holds no {LINES_NAME}; name a new folder for the speech")
    return ConfigError(
        f"{out} holds speech that this slmtk cannot go on with; name another OUT, or --overwrite to delete it"
    )


def _refuse_other(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if differences := changes(_flatten(before), _flatten(now)):
        raise ConfigError(
            f"{out} was begun with other settings: {'; '.join(differences)}; name another OUT, or --overwrite to "
            "delete what is there"
        )


def _flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    inner = settings.get("sampling", {})
    return {key: value for key, value in settings.items() if key != "sampling"} | dict(inner)


def _remove(out: Path) -> None:
    """Delete what `synth` writes into ``out``, and nothing else."""
    for name in (_RUN_NAME, INDEX_NAME, LINES_NAME, TIMINGS_NAME, REPORT_NAME):
        (out / name).unlink(missing_ok=True)
    for path in [*out.glob("part-*.parquet"), *(out / "wav").glob("*.wav"), *(out / "wav").glob(".*.wav.*.tmp")]:
        path.unlink(missing_ok=True)
    for path in [out / _HELD, *out.glob(".whole-*")]:
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):  # somebody else's files are in it
        (out / "wav").rmdir()

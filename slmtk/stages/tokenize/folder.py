"""The folder that `tokenize` writes into, alone or with other shards: begun, gone on with, and tidied."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from slmtk.config import changes, write_json
from slmtk.corpus.segments import whole
from slmtk.errors import ConfigError, SlmtkError
from slmtk.shards import CodesRow, part_name, read_metadata, read_part
from slmtk.shards.rows import ERRORS_NAME, INDEX_NAME
from slmtk.spec import CodecSpec
from slmtk.stages.tokenize.parts import Part, Plan

RUN_NAME = ".slmtk-run.json"
Made = TypeVar("Made")


class Folder:
    """OUT, as one run sees it.

    Shards that run at the same time, on machines whose processes may have the same ids, each write into a hidden
    folder of their own within OUT and rename from there.
    """

    def __init__(self, out: Path, plan: Plan, shard: tuple[int, int] | None, *, overwrite: bool) -> None:
        """Make ``out`` ready for the parts of ``plan``, keeping those of an earlier try of the same run.

        Args:
            out: the folder.
            plan: of the whole run, whichever shard of it this is.
            shard: its id and how many there are, or None.
            overwrite: delete what is there first.

        Raises:
            ConfigError: ``out`` holds parts of another run; the message says what differs.
        """
        self.out, self.plan, self.shard = out, plan, shard
        self._work = out
        if shard is not None:
            self._work = out / f".shard-{shard[0]}-of-{shard[1]}-{secrets.token_hex(4)}"
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file; expected a folder to write codes into")
        if overwrite:
            remove(out)
        run = out / RUN_NAME
        # Parts are looked for first: another shard may be beginning, and it writes its run's name before any part.
        strange = any(out.glob("part-*.parquet")) or (out / INDEX_NAME).exists()
        if run.is_file():
            _refuse_other(out, json.loads(run.read_text(encoding="utf-8")), plan)
        elif strange:
            raise ConfigError(f"{out} holds files that `slmtk tokenize` did not write; use another OUT")
        else:
            self.place(RUN_NAME, lambda path: write_json(path, plan.run))
        run.touch()
        # By the clock of the disk: what is older and half-written is a killed run's, not another shard's.
        self._began = run.stat().st_mtime_ns

    def place(self, name: str, write: Callable[[Path], Made]) -> Made:
        """Let ``write`` make file ``name``, which is then in the folder, whole, or not at all."""
        made = write(self._work / name)
        if self._work != self.out:
            os.replace(self._work / name, self.out / name)
        return made

    def own_parts(self) -> list[Part]:
        """The parts that this run is to make."""
        if self.shard is None:
            return list(self.plan.parts)
        shard_id, num_shards = self.shard
        return [part for part in self.plan.parts if part.number % num_shards == shard_id]

    def count_absent(self) -> int:
        """How many parts of the whole run are not there."""
        return sum(not (self.out / part_name(part.number)).is_file() for part in self.plan.parts)

    def reusable_rows(self, part: Part, spec: CodecSpec) -> tuple[list[CodesRow], list[Any]] | None:
        """Return rows and failures of a part that an earlier try has written; None if it must be made (again)."""
        path = self.out / part_name(part.number)
        if not path.is_file():
            return None
        try:
            metadata = read_metadata(path)
            rows = list(read_part(path, spec))
        except SlmtkError:
            return None
        failures = metadata.get("failures", [])
        found = [*(row.id for row in rows), *(failure["id"] for failure in failures)]
        if metadata.get("fingerprint") != self.plan.fingerprint or not _are_of(found, part):
            return None
        return rows, failures

    def tidy(self, *, finished: bool) -> None:
        """Delete the half-written files of killed runs: those of this shard, or all if the folder is finished."""
        if self._work != self.out:
            shutil.rmtree(self._work, ignore_errors=True)
        if finished:
            starts = tuple(f".{name}." for name in (INDEX_NAME, ERRORS_NAME, RUN_NAME))
            for path in self.out.glob(".*.tmp"):
                if path.name.startswith((".part-", *starts)) and self._is_older(path):
                    path.unlink(missing_ok=True)
        mine = "*" if finished or self.shard is None else f"{self.shard[0]}-of-{self.shard[1]}-*"
        for path in self.out.glob(f".shard-{mine}"):
            if all(map(self._is_older, [path, *_entries(path)])):
                shutil.rmtree(path, ignore_errors=True)

    def _is_older(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime_ns < self._began
        except FileNotFoundError:
            return True


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:  # its own run, or another that tidies, has just deleted it
        return []


def remove(out: Path) -> None:
    """Delete what `tokenize` writes into ``out``, and nothing else."""
    for path in [*out.glob("part-*.parquet"), out / INDEX_NAME, out / ERRORS_NAME, out / RUN_NAME]:
        path.unlink(missing_ok=True)
    for path in out.glob(".shard-*"):
        shutil.rmtree(path, ignore_errors=True)


def _are_of(found: list[str], part: Part) -> bool:
    """Whether the ids are those of ``part``, pieces by their recording: where one ends is known when it is read."""
    recordings = {whole(utterance).id for utterance in part.utterances if whole(utterance) is not utterance}

    def recording(name: str) -> str:
        head = name.rpartition("@")[0]
        return head if head in recordings else name

    return sorted(map(recording, found)) == sorted(recording(utterance.id) for utterance in part.utterances)


def _refuse_other(out: Path, run: Mapping[str, Any], plan: Plan) -> None:
    if differences := changes(_flatten(run), _flatten(plan.run)):
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

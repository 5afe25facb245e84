"""One run of `tokenize`: parts that are there already, parts that are made now, and the index when all are there."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from slmtk.config import to_jsonable, write_text
from slmtk.corpus import Corpus
from slmtk.corpus.segments import whole
from slmtk.engines.local import WorkerDiedError
from slmtk.errors import SlmtkError
from slmtk.progress import Progress, Task
from slmtk.shards import CodesRow, ShardInfo, part_name, write_index, write_shard
from slmtk.shards.rows import ERRORS_NAME, INDEX_NAME
from slmtk.shards.writer import shard_info
from slmtk.spec import CodecSpec
from slmtk.stages.tokenize.config import TokenizeConfig, TokenizeReport
from slmtk.stages.tokenize.filter import COLUMN, FILTERED
from slmtk.stages.tokenize.folder import Folder, remove
from slmtk.stages.tokenize.job import Answer, Failure, extra_columns
from slmtk.stages.tokenize.parts import Chunk, Part, Plan

_MOST_MESSAGES = 5
Work = Callable[[Sequence[Part]], Generator[tuple[Chunk, Answer], None, None]]


class Run:
    """Parts as they come in: found from an earlier try, or encoded now."""

    def __init__(
        self, corpus: Corpus, spec: CodecSpec, plan: Plan, folder: Folder, config: TokenizeConfig, progress: Progress
    ) -> None:
        """Begin with nothing done; ``folder`` says which parts of ``plan`` are this run's."""
        self.corpus, self.spec, self.plan, self.folder = corpus, spec, plan, folder
        self.config, self.progress, self.out = config, progress, folder.out
        self.parts = folder.own_parts()
        self.columns = extra_columns(corpus.utterances)
        if config.min_dnsmos is not None:
            self.columns = dict(sorted(({COLUMN: float} | self.columns).items()))
        self.shards: dict[int, ShardInfo] = {}
        self.failures: dict[int, list[Failure]] = {}
        self.reused = 0
        self.messages = 0
        self.encoding_seconds = 0.0
        self.encoded_seconds = 0.0

    def reuse(self) -> None:
        """Take over the parts that an earlier try has finished."""
        for part in self.parts:
            self._take_over(part)
        self.reused = len(self.shards)
        if self.reused:
            self.progress.message(f"{self.reused} of {len(self.parts)} parts are there already")
        # Names of parts beyond the plan cannot be ours: the plan depends on the run's settings alone.
        if self.reused < len(self.parts):
            (self.out / INDEX_NAME).unlink(missing_ok=True)

    def _take_over(self, part: Part) -> bool:
        found = self.folder.reusable_rows(part, self.spec)
        if found is None:
            return False
        rows, failures = found
        self.shards[part.number] = shard_info(self.out / part_name(part.number), rows)
        self.failures[part.number] = [Failure(**failure) for failure in failures]
        return True

    def encode(self, work: Work) -> None:
        """Make the parts that are missing.

        Raises:
            SlmtkError: the codec cannot be loaded, or a worker died.
        """
        missing = [part for part in self.parts if part.number not in self.shards]
        if not missing:
            return
        started = time.monotonic()
        rows: dict[int, dict[int, CodesRow | Failure]] = {part.number: {} for part in missing}
        by_number = {part.number: part for part in missing}
        total = sum(sum(part.seconds) for part in missing)
        # Closed at once if writing fails, so that workers end before the exception is told.
        with self.progress.task("tokenize", total, "s") as task, closing(work(missing)) as answers:
            for chunk, answer in self._explained(answers):
                held = rows[chunk.part]
                held.update(zip(chunk.places, answer.results, strict=True))
                self._advance(task, chunk, started, total)
                self._tell(answer)
                if len(held) == len(by_number[chunk.part].utterances):
                    self._write_part(chunk.part, [held[place] for place in range(len(held))])
                    del rows[chunk.part]
        self.encoding_seconds = time.monotonic() - started

    def _explained(self, answers: Iterator[tuple[Chunk, Answer]]) -> Iterator[tuple[Chunk, Answer]]:
        try:
            yield from answers
        except WorkerDiedError as error:
            names = [utterance.id for chunk in error.tasks for utterance in chunk.utterances]
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise SlmtkError(
                f"{error} while encoding {shown or 'nothing yet'}; {len(self.shards)} of {len(self.parts)} parts are "
                "finished and kept: run the same command again to resume, with fewer --workers if memory is short"
            ) from error

    def _advance(self, task: Task, chunk: Chunk, started: float, total: float) -> None:
        self.encoded_seconds += chunk.seconds
        speed = self.encoded_seconds / (time.monotonic() - started)
        note = f"{self.encoded_seconds / 3600:.2f} of {total / 3600:.2f} h, {speed:.0f}x real time"
        task.advance(chunk.seconds, note)

    def _tell(self, answer: Answer) -> None:
        for note in answer.notes:
            self.progress.message(note)
        for result in answer.results:
            if isinstance(result, Failure) and result.kind != FILTERED:
                self.messages += 1
                if self.messages <= _MOST_MESSAGES:
                    self.progress.message(f"failed: {result.id} ({result.kind}): {result.message}")
                elif self.messages == _MOST_MESSAGES + 1:
                    self.progress.message(f"further failures are told in {self.out / ERRORS_NAME} alone")

    def _write_part(self, number: int, results: Sequence[CodesRow | Failure]) -> None:
        rows = [result for result in results if isinstance(result, CodesRow)]
        failures = [result for result in results if isinstance(result, Failure)]
        metadata = {"fingerprint": self.plan.fingerprint, "failures": to_jsonable(failures)}
        spec = dataclasses.replace(self.spec, source="")
        self.shards[number] = self.folder.place(
            part_name(number),
            lambda path: write_shard(path, spec, rows, extra_columns=self.columns, metadata=metadata),
        )
        self.failures[number] = failures

    def finish(self, source: str, started: float) -> TokenizeReport:
        """Write errors.jsonl and the index, if no other shard's parts are missing, and report.

        Args:
            source: as the user named it.
            started: when, by `time.monotonic`.

        Raises:
            SlmtkError: every input of the whole run failed.
        """
        own = sorted(self.shards)
        finished = self._gather()
        if finished:
            self._write_index(source)
        self.folder.tidy(finished=finished)
        return self._report(own, finished, time.monotonic() - started)

    def _gather(self) -> bool:
        """Take over the other shards' parts; False if some are not there yet."""
        others = [part for part in self.plan.parts if part.number not in self.shards]
        absent = self.folder.count_absent()
        if not absent and all(self._take_over(part) for part in others):
            return True
        self.progress.message(
            f"{absent or 'some'} of {len(self.plan.parts)} parts are other shards' and not there yet; whichever shard "
            f"is the last writes {INDEX_NAME}"
        )
        return False

    def _write_index(self, source: str) -> None:
        failures = [failure for number in sorted(self.failures) for failure in self.failures[number]]
        shards = [self.shards[number] for number in sorted(self.shards)]
        encoded = sum(shard.rows for shard in shards)
        if not encoded:
            remove(self.out)
        if failures:
            lines = (json.dumps(dataclasses.asdict(failure), ensure_ascii=False) + "\n" for failure in failures)
            self.folder.place(ERRORS_NAME, lambda path: write_text(path, "".join(lines)))
        else:
            (self.out / ERRORS_NAME).unlink(missing_ok=True)
        if not encoded:
            self.folder.tidy(finished=True)
            raise SlmtkError(f"all {len(failures)} inputs failed, the first: {failures[0].message}; see {ERRORS_NAME}")
        config = self._stored_config(source)

        def write(path: Path) -> None:
            failed = sum(failure.kind != FILTERED for failure in failures)
            write_index(path.parent, self.spec, config, self.plan.fingerprint, shards, failed)

        self.folder.place(INDEX_NAME, write)

    def _report(self, own: Sequence[int], finished: bool, seconds_wall: float) -> TokenizeReport:
        shards = [self.shards[number] for number in own]
        left_out = [failure for number in own for failure in self.failures[number]]
        failures = [failure for failure in left_out if failure.kind != FILTERED]
        hours = sum(shard.seconds for shard in shards) / 3600
        size = sum(shard.bytes for shard in shards)
        return TokenizeReport(
            out=self.out,
            layout=self.corpus.layout,
            utterances=sum(len(part.utterances) for part in self.parts),
            split=self._count_split(),
            encoded=sum(shard.rows for shard in shards),
            failed=len(failures),
            failures=dict(sorted(Counter(failure.kind for failure in failures).items())),
            filtered=len(left_out) - len(failures),
            parts=len(shards),
            parts_reused=self.reused,
            finished=finished,
            hours=round(hours, 4),
            megabytes_per_hour=round(size / 1e6 / hours, 4) if hours else None,
            seconds_wall=round(seconds_wall, 2),
            times_real_time=round(self.encoded_seconds / self.encoding_seconds, 1) if self.encoding_seconds else None,
        )

    def _count_split(self) -> int:
        recordings = ((utterance, whole(utterance)) for part in self.parts for utterance in part.utterances)
        return len({recording.id for utterance, recording in recordings if recording is not utterance})

    def _stored_config(self, source: str) -> dict[str, Any]:
        # What the bytes cannot depend on stays out: device, workers, engine, shards.
        return {
            "command": "tokenize",
            "source": source,
            "codec": self.config.codec,
            "codebooks": self.config.codebooks,
            "codec_checkpoint": to_jsonable(self.config.codec_checkpoint),
            "shard_hours": self.config.shard_hours,
            "max_seconds": self.config.max_seconds,
            "min_dnsmos": self.config.min_dnsmos,
            "layout": self.corpus.layout,
            "root": to_jsonable(self.corpus.root),
            "corpus": to_jsonable(self.config.corpus),
            "inputs": self.plan.run["inputs"],
        }

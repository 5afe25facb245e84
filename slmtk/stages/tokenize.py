"""Recorded speech -> shards of codes: in parallel, resumable, the same bytes however it went."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmtk.codecs.base import load_codec
from slmtk.config import to_jsonable, write_text
from slmtk.corpus import Corpus, CorpusConfig, find_utterances
from slmtk.device import resolve_device
from slmtk.engines.local import WorkerDiedError, WorkerPool, count_cores, prepare
from slmtk.errors import ConfigError, SlmtkError
from slmtk.progress import Progress, Task
from slmtk.shards import CodesRow, ShardInfo, open_codes, part_name, write_index, write_shard
from slmtk.shards.rows import ERRORS_NAME, INDEX_NAME
from slmtk.shards.writer import shard_info
from slmtk.spec import CodecSpec
from slmtk.stages.tokenize_job import Failure, extra_columns, make_encoder
from slmtk.stages.tokenize_plan import Chunk, Part, Plan, begin, chunks, make_plan, remove, reusable_rows, tidy

_MOST_MESSAGES = 5


@dataclass(frozen=True)
class TokenizeConfig:
    """How to encode a corpus."""

    codec: str
    """A plug-in's name or module:Class."""
    device: str = "auto"
    """Where the codec runs; the bytes of the result may depend on it, not on anything below but ``shard_hours``."""
    workers: int | None = None
    """Processes on the CPU; None takes one for each core. On a GPU the codec runs in this process."""
    shard_hours: float = 4.0
    """Audio in a part. An interrupted run goes on at the first part that is not there."""
    codec_checkpoint: Path | None = None
    """Weights to use instead of the published ones."""
    codebooks: int | None = None
    """Use the codec's first so many streams; None uses all. Not every codec can leave some out."""
    overwrite: bool = False
    """Delete what an earlier run has left in the folder."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """How to read the source."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is not positive.
        """
        if self.codebooks is not None and self.codebooks < 1:
            raise ConfigError(f"--codebooks {self.codebooks} must be 1 or more")
        if self.shard_hours <= 0 or (self.workers is not None and self.workers < 1):
            raise ConfigError(f"--shard-hours {self.shard_hours} and --workers {self.workers} must be positive")


@dataclass(frozen=True)
class TokenizeReport:
    """What a run has made.

    Attributes:
        out: the folder.
        layout: of the corpus.
        utterances: found.
        encoded: rows in the folder.
        failed: utterances that gave no codes; errors.jsonl says why.
        failures: how many of each kind.
        parts: Parquet files.
        parts_reused: of them, those that an earlier try had made.
        hours: of audio in the folder.
        megabytes_per_hour: size of the parts, speaker vectors included.
        seconds_wall: this run took.
        times_real_time: audio encoded in this run over the time it took; None if nothing was left to do.
    """

    out: Path
    layout: str
    utterances: int
    encoded: int
    failed: int
    failures: dict[str, int]
    parts: int
    parts_reused: int
    hours: float
    megabytes_per_hour: float
    seconds_wall: float
    times_real_time: float | None


def default_out(source: Path | str, codec: str, codebooks: int | None = None) -> Path:
    """Name the folder for codes of ``source`` when the user names none: "<codec>-codes/<name of the source>"."""
    codec = codec if codebooks is None else f"{codec}-{codebooks}"
    path = Path(source).resolve()
    name = path.parent.name if path.stem in ("metadata", "manifest") and path.is_file() else path.stem
    return Path(f"{re.sub(r'[^A-Za-z0-9_-]+', '-', codec)}-codes") / (name if path.is_file() else path.name)


def tokenize(source: Path | str, out: Path, config: TokenizeConfig, progress: Progress) -> TokenizeReport:
    """Encode the audio of ``source`` into codes shards in ``out``; run it again to resume.

    Args:
        source: what `slmtk.corpus.find_utterances` takes.
        out: folder to write; parts of an earlier try of the same run are kept.
        config: codec and options.
        progress: told of hours done, speed, failures.

    Raises:
        CorpusError: no utterances are there.
        ConfigError: ``out`` holds the codes of another run.
        SlmtkError: the codec cannot be loaded, a worker process died, or every input failed.
    """
    started = time.monotonic()
    if config.device in ("auto", "cpu"):
        prepare()
    corpus = find_utterances(source, config.corpus)
    for line in (f"{source}: {corpus.describe()}", *corpus.notes):
        progress.message(line)
    device = resolve_device(config.device)
    codec = load_codec(config.codec, device=device, checkpoint=config.codec_checkpoint, codebooks=config.codebooks)
    spec, device = codec.spec, "cpu" if codec.cpu_only else device
    # Where the codec's class was found is told by the index alone: the parts' bytes must not depend on it.
    plan = make_plan(corpus, dataclasses.replace(spec, source=""), config.shard_hours, progress)
    begin(out, plan, overwrite=config.overwrite)
    run = _Run(corpus, spec, plan, out, config, device, progress)
    run.reuse()
    run.encode()
    return run.finish(str(source), time.monotonic() - started)


class _Run:
    """Parts as they come in: found from an earlier try, or encoded now."""

    def __init__(
        self, corpus: Corpus, spec: CodecSpec, plan: Plan, out: Path, config: TokenizeConfig, device: str, bar: Progress
    ) -> None:
        self.corpus, self.spec, self.plan, self.out = corpus, spec, plan, out
        self.config, self.device, self.progress = config, device, bar
        self.columns = extra_columns(corpus.utterances)
        self.shards: dict[int, ShardInfo] = {}
        self.failures: dict[int, list[Failure]] = {}
        self.reused = 0
        self.messages = 0
        self.encoding_seconds = 0.0
        self.encoded_seconds = 0.0

    def reuse(self) -> None:
        """Take over the parts that an earlier try has finished."""
        for part in self.plan.parts:
            found = reusable_rows(self.out, part, self.plan, self.spec)
            if found is not None:
                rows, failures = found
                self.shards[part.number] = shard_info(self.out / part_name(part.number), rows)
                self.failures[part.number] = [Failure(**failure) for failure in failures]
        self.reused = len(self.shards)
        if self.reused:
            self.progress.message(f"{self.reused} of {len(self.plan.parts)} parts are there already")
        # Names of parts beyond the plan cannot be ours: the plan depends on the run's settings alone.
        if self.reused < len(self.plan.parts):
            (self.out / INDEX_NAME).unlink(missing_ok=True)

    def encode(self) -> None:
        """Make the parts that are missing."""
        missing = [part for part in self.plan.parts if part.number not in self.shards]
        if not missing:
            return
        started = time.monotonic()
        rows: dict[int, dict[int, CodesRow | Failure]] = {part.number: {} for part in missing}
        by_number = {part.number: part for part in missing}
        total = sum(sum(part.seconds) for part in missing)
        with self.progress.task("tokenize", total, "s") as task:
            for chunk, results in self._results(missing):
                held = rows[chunk.part]
                held.update(enumerate(results, chunk.first))
                self._advance(task, by_number[chunk.part], chunk, started, total)
                self._tell_failures(results)
                if len(held) == len(by_number[chunk.part].utterances):
                    self._write_part(chunk.part, [held[place] for place in range(len(held))])
                    del rows[chunk.part]
        self.encoding_seconds = time.monotonic() - started

    def _results(self, missing: Sequence[Part]) -> Iterator[tuple[Chunk, list[CodesRow | Failure]]]:
        tasks = list(chunks(missing))
        config = self.config
        make = functools.partial(
            make_encoder, config.codec, config.codebooks, config.codec_checkpoint, self.device, self.corpus.root
        )
        if self.device != "cpu":
            encoder = make()
            yield from ((chunk, encoder(chunk.utterances)) for chunk in tasks)
            return
        workers = min(self.config.workers or count_cores(), len(tasks))
        with ExitStack() as stack:
            pool = stack.enter_context(WorkerPool(functools.partial(_make_job, make), workers))
            try:
                yield from pool.map(tasks)
            except WorkerDiedError as error:
                raise self._explain(error) from error

    def _explain(self, error: WorkerDiedError) -> SlmtkError:
        names = [utterance.id for chunk in error.tasks for utterance in chunk.utterances]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return SlmtkError(
            f"{error} while encoding {shown}; {len(self.shards)} of {len(self.plan.parts)} parts are finished "
            "and kept: run the same command again to resume, with fewer --workers if memory is short"
        )

    def _advance(self, task: Task, part: Part, chunk: Chunk, started: float, total: float) -> None:
        seconds = sum(part.seconds[chunk.first : chunk.first + len(chunk.utterances)])
        self.encoded_seconds += seconds
        speed = self.encoded_seconds / (time.monotonic() - started)
        note = f"{self.encoded_seconds / 3600:.2f} of {total / 3600:.2f} h, {speed:.0f}x real time"
        task.advance(seconds, note)

    def _tell_failures(self, results: Sequence[CodesRow | Failure]) -> None:
        for result in results:
            if isinstance(result, Failure):
                self.messages += 1
                if self.messages <= _MOST_MESSAGES:
                    self.progress.message(f"failed: {result.id} ({result.kind}): {result.message}")
                elif self.messages == _MOST_MESSAGES + 1:
                    self.progress.message(f"further failures are told in {self.out / ERRORS_NAME} alone")

    def _write_part(self, number: int, results: Sequence[CodesRow | Failure]) -> None:
        rows = [result for result in results if isinstance(result, CodesRow)]
        failures = [result for result in results if isinstance(result, Failure)]
        metadata = {"fingerprint": self.plan.fingerprint, "failures": to_jsonable(failures)}
        path = self.out / part_name(number)
        spec = dataclasses.replace(self.spec, source="")
        self.shards[number] = write_shard(path, spec, rows, extra_columns=self.columns, metadata=metadata)
        self.failures[number] = failures

    def finish(self, source: str, seconds_wall: float) -> TokenizeReport:
        """Write errors.jsonl and the index."""
        failures = [failure for number in sorted(self.failures) for failure in self.failures[number]]
        shards = [self.shards[number] for number in sorted(self.shards)]
        encoded = sum(shard.rows for shard in shards)
        if not encoded:
            remove(self.out)
        self._write_errors(failures)
        if not encoded:
            raise SlmtkError(f"all {len(failures)} inputs failed, the first: {failures[0].message}; see {ERRORS_NAME}")
        write_index(self.out, self.spec, self._stored_config(source), self.plan.fingerprint, shards, len(failures))
        tidy(self.out)
        hours = open_codes(self.out).seconds / 3600
        return TokenizeReport(
            out=self.out,
            layout=self.corpus.layout,
            utterances=len(self.corpus.utterances),
            encoded=encoded,
            failed=len(failures),
            failures=dict(sorted(Counter(failure.kind for failure in failures).items())),
            parts=len(shards),
            parts_reused=self.reused,
            hours=round(hours, 4),
            megabytes_per_hour=round(sum(shard.bytes for shard in shards) / 1e6 / hours, 4),
            seconds_wall=round(seconds_wall, 2),
            times_real_time=round(self.encoded_seconds / self.encoding_seconds, 1) if self.encoding_seconds else None,
        )

    def _write_errors(self, failures: Sequence[Failure]) -> None:
        lines = [json.dumps(dataclasses.asdict(failure), ensure_ascii=False) + "\n" for failure in failures]
        if lines:
            write_text(self.out / ERRORS_NAME, "".join(lines))
        else:
            (self.out / ERRORS_NAME).unlink(missing_ok=True)

    def _stored_config(self, source: str) -> dict[str, Any]:
        # What the bytes cannot depend on stays out: device, workers.
        return {
            "command": "tokenize",
            "source": source,
            "codec": self.config.codec,
            "codebooks": self.config.codebooks,
            "codec_checkpoint": to_jsonable(self.config.codec_checkpoint),
            "shard_hours": self.config.shard_hours,
            "layout": self.corpus.layout,
            "root": to_jsonable(self.corpus.root),
            "corpus": to_jsonable(self.config.corpus),
            "inputs": self.plan.run["inputs"],
        }


def _make_job(make: Any) -> Any:
    encoder = make()
    return lambda chunk: encoder(chunk.utterances)

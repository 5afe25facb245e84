"""A folder of codes -> what it holds, whether it is sound, and what it sounds like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.errors import ConfigError
from slmtk.progress import Progress
from slmtk.shards import CodesFolder, open_codes, verify
from slmtk.stages.inspect_usage import StreamUsage, UsageCounter, duration_histogram
from slmtk.stages.resynth import ResynthReport, resynthesise


@dataclass(frozen=True)
class InspectConfig:
    """What to look at, and what to write as audio."""

    resynth: Path | None = None
    """Folder for audio made from the codes; None makes none."""
    count: int = 20
    """How many utterances to write, drawn by ``seed``; 0 writes all."""
    seed: int = 0
    """Of the draw."""
    speaker: str | None = None
    """Id of the utterance whose speaker vector all are decoded with; None: each with its own."""
    device: str = "auto"
    """Where the codec runs."""
    workers: int | None = None
    """Processes on the CPU; None takes one for each core."""
    codec_checkpoint: Path | None = None
    """Weights to use instead of the published ones."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: a count is negative, or ``speaker`` is given without ``resynth``.
        """
        if self.count < 0 or (self.workers is not None and self.workers < 1):
            raise ConfigError(f"-n {self.count} must be 0 or more, --workers {self.workers} 1 or more")
        if self.speaker is not None and self.resynth is None:
            raise ConfigError("--voice-of chooses a voice for --resynth OUT; give that too")


@dataclass(frozen=True)
class InspectReport:
    """What a folder of codes holds.

    Attributes:
        codec: its description, as stored.
        rows: utterances.
        failures: inputs that gave no codes when the folder was made.
        hours: of audio.
        frames: of all utterances.
        speakers: different names of speakers.
        with_text: utterances with text.
        parts: Parquet files.
        megabytes_per_hour: size of the parts, speaker vectors included.
        streams: how each codebook is used.
        durations: histogram.
        problems: what `slmtk.shards.verify` found; empty if the folder is sound.
        resynth: what was written as audio, if anything was asked for.
    """

    codec: dict[str, Any]
    rows: int
    failures: int
    hours: float
    frames: int
    speakers: int
    with_text: int
    parts: int
    megabytes_per_hour: float
    streams: list[StreamUsage]
    durations: list[dict[str, float]]
    problems: list[str]
    resynth: ResynthReport | None


def inspect(codes: Path, config: InspectConfig, progress: Progress) -> InspectReport:
    """Count what the folder ``codes`` holds, verify it, and write some of it as audio if asked to.

    Raises:
        FormatError: it is no finished folder of codes, or too damaged to be read.
        ConfigError: the speaker is unknown, or the codec has no speaker vectors.
        CodecMismatchError: the codec that is installed is not the one that made the codes.
    """
    folder = open_codes(codes)
    problems = verify(codes)
    resynth = None
    if config.resynth is not None:
        resynth = resynthesise(
            folder,
            config.resynth,
            progress,
            count=config.count,
            seed=config.seed,
            speaker=config.speaker,
            device=config.device,
            workers=config.workers,
            checkpoint=config.codec_checkpoint,
        )
    if problems:
        # Rows of a damaged part cannot be counted; what the index says can be shown.
        return _report(folder, UsageCounter(folder.spec), [], set(), 0, problems, resynth)
    counter, durations, speakers, with_text = UsageCounter(folder.spec), [], set(), 0
    with progress.task("inspect", folder.num_rows, "rows") as task:
        for row in folder.rows(("codes", "duration", "speaker", "text")):
            counter.add(row.codes)
            durations.append(row.duration)
            speakers.add(row.speaker)
            with_text += row.text is not None
            task.advance(1)
    return _report(folder, counter, durations, speakers - {None}, with_text, problems, resynth)


def _report(
    folder: CodesFolder,
    counter: UsageCounter,
    durations: list[float],
    speakers: set[str | None],
    with_text: int,
    problems: list[str],
    resynth: ResynthReport | None,
) -> InspectReport:
    hours = folder.seconds / 3600
    size = sum(int(shard["bytes"]) for shard in folder.index["shards"])
    return InspectReport(
        codec=folder.spec.to_dict(),
        rows=folder.num_rows,
        failures=int(folder.index["failures"]),
        hours=round(hours, 4),
        frames=int(folder.index["frames"]),
        speakers=len(speakers),
        with_text=with_text,
        parts=len(folder.parts),
        megabytes_per_hour=round(size / 1e6 / hours, 4) if hours else 0.0,
        streams=counter.usage(),
        durations=duration_histogram(durations),
        problems=problems,
        resynth=resynth,
    )

"""What `tokenize` is asked for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from slmtk.corpus import CorpusConfig
from slmtk.errors import ConfigError
from slmtk.stages.sharding import shard_of

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class TokenizeConfig:
    """How to encode a corpus."""

    codec: str
    """A plug-in's name or module:Class."""
    device: str = "auto"
    """Where the codec runs; the bytes of the result may depend on it, not on anything below that is not said to."""
    workers: int | None = None
    """Processes on the CPU, None takes one for each core; or actors of a Ray cluster, None takes one for each GPU or,
    where there are none, each core. On a GPU of this machine the codec runs in this process."""
    shard_hours: float = 4.0
    """Audio in a part, which the bytes depend on. An interrupted run goes on at the first part that is not there."""
    codec_checkpoint: Path | None = None
    """Weights to use instead of the published ones."""
    codebooks: int | None = None
    """Use the codec's first so many streams; None uses all. Not every codec can leave some out."""
    overwrite: bool = False
    """Delete what an earlier run has left in the folder."""
    max_seconds: float | None = None
    """Split longer recordings at silences, which the bytes depend on; None keeps them whole."""
    batch_seconds: float | None = None
    """Audio to encode at once, of utterances with the same number of frames; 0 encodes each alone. None batches on a
    GPU only."""
    min_dnsmos: float | None = None
    """Leave out what is less natural than this, as the corpus's column "dnsmos" states it or, without one, measured;
    the bytes depend on it. None keeps all."""
    shard_id: int | None = None
    """Make only the parts whose number, divided by ``num_shards``, leaves this rest."""
    num_shards: int | None = None
    """How many runs, each with its own ``shard_id``, share the work."""
    engine: str = "local"
    """"local": this machine; "ray": a Ray cluster."""
    ray_address: str = "auto"
    """Of the cluster."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """How to read the source."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of its range, or options do not go together.
        """
        if self.codebooks is not None and self.codebooks < 1:
            raise ConfigError(f"--codebooks {self.codebooks} must be 1 or more")
        if self.shard_hours <= 0 or (self.workers is not None and self.workers < 1):
            raise ConfigError(f"--shard-hours {self.shard_hours} and --workers {self.workers} must be positive")
        if self.max_seconds is not None and not self.max_seconds >= 1:
            raise ConfigError(f"--max-seconds {self.max_seconds} must be 1 or more")
        if self.batch_seconds is not None and not self.batch_seconds >= 0:
            raise ConfigError(f"--batch-seconds {self.batch_seconds} must be 0 (every utterance alone) or more")
        if self.max_seconds is not None and self.corpus.streaming:
            raise ConfigError("--max-seconds needs durations, which --streaming does not know; leave out one of them")
        if self.engine not in ENGINES:
            raise ConfigError(f"no engine {self.engine!r}; expected one of {', '.join(ENGINES)}")
        shard_of(self.shard_id, self.num_shards, overwrite=self.overwrite)

    @property
    def shard(self) -> tuple[int, int] | None:
        """``shard_id`` and ``num_shards``, or None."""
        return shard_of(self.shard_id, self.num_shards, overwrite=self.overwrite)


@dataclass(frozen=True)
class TokenizeReport:
    """What a run has made; if it is one shard of several, all numbers are of its own parts.

    Attributes:
        out: the folder.
        layout: of the corpus.
        utterances: found, a long recording's pieces counted each.
        split: recordings longer than ``max_seconds``.
        encoded: rows in the folder.
        failed: utterances that gave no codes; errors.jsonl says why.
        failures: how many of each kind.
        filtered: left out by ``min_dnsmos``: those of the whole corpus whose column said so, and those measured;
            errors.jsonl names the latter.
        parts: Parquet files.
        parts_reused: of them, those that an earlier try had made.
        finished: whether the folder is whole and has its index; if not, parts of other shards are missing.
        hours: of audio in the folder.
        megabytes_per_hour: size of the parts, speaker vectors included; None if there is no audio.
        seconds_wall: this run took.
        times_real_time: audio encoded in this run over the time it took; None if nothing was left to do.
    """

    out: Path
    layout: str
    utterances: int
    split: int
    encoded: int
    failed: int
    failures: dict[str, int]
    filtered: int
    parts: int
    parts_reused: int
    finished: bool
    hours: float
    megabytes_per_hour: float | None
    seconds_wall: float
    times_real_time: float | None

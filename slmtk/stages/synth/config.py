"""What `synth` is asked for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from slmtk.errors import ConfigError
from slmtk.metrics.normalize import get_normalizer
from slmtk.models.sampling import Sampling
from slmtk.stages.sharding import shard_of

ENGINES = ("local", "ray")
RERANKERS = ("wer",)


@dataclass(frozen=True)
class SynthConfig:
    """Settings of a synthesis run."""

    model: Path
    """Folder that ``slmtk train`` wrote."""
    speakers: tuple[Path, ...] = ()
    """Voices (`slmtk.models.speaker.Synthesizer.voice`); line n is spoken in voice n, and round again. Without any,
    lines that name none are spoken in the default one of the voices that the model carries."""
    sampling: Sampling = field(default_factory=Sampling)
    """How codes are chosen."""
    device: str = "auto"
    """cpu, cuda, cuda:N or auto."""
    codec_checkpoint: Path | None = None
    """Local weights of the model's codec."""
    batch_size: int = 8
    """Texts that are spoken at once; what is said does not depend on it."""
    split_long: bool = True
    """Speak a text that takes longer than the sampling's ``max_seconds``, or than the model speaks well, sentence by
    sentence."""
    n_best: int = 1
    """Speak each text so many times, with seeds from the sampling's on, and keep the best."""
    rerank: str = "wer"
    """What the best one is: the one with the lowest word error rate."""
    recognizer: str = "pocketsphinx"
    """Plug-in that hears the candidates."""
    recognizer_model: str | None = None
    """Local folder or hub id of the recogniser's model."""
    grammar: Path | None = None
    """JSGF file that closes the recogniser's vocabulary."""
    normalizer: str = "whisper-english"
    """What makes a text and what was heard comparable."""
    workers: int | None = None
    """Processes of one thread each on the CPU, None speaks in this process; or actors of a Ray cluster, None takes one
    for each GPU or, where there are none, each core. On a GPU of this machine the model runs in this process."""
    shard_id: int | None = None
    """Speak only the lines whose number, divided by ``num_shards``, leaves this rest."""
    num_shards: int | None = None
    """How many runs, each with its own ``shard_id``, share the work."""
    engine: str = "local"
    """"local": this machine; "ray": a Ray cluster."""
    ray_address: str = "auto"
    """Of the cluster."""
    overwrite: bool = False
    """Delete what an earlier run has left in the folder."""

    def __post_init__(self) -> None:
        """Check numbers and names.

        Raises:
            ConfigError: one is out of its range, or options do not go together.
        """
        counts = {"--batch-size": self.batch_size, "--n-best": self.n_best, "--workers": self.workers}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ConfigError(f"{name} {count} must be 1 or more")
        if self.n_best > 1 and not self.sampling.is_random:
            raise ConfigError(
                f"--n-best {self.n_best} needs a --temperature above 0, without --choose mean: other candidates would "
                "all be the same"
            )
        for what, name, known in (("engine", self.engine, ENGINES), ("rerank", self.rerank, RERANKERS)):
            if name not in known:
                raise ConfigError(f"no {what} {name!r}; expected one of {', '.join(known)}")
        get_normalizer(self.normalizer)
        shard_of(self.shard_id, self.num_shards, overwrite=self.overwrite)

    @property
    def shard(self) -> tuple[int, int] | None:
        """``shard_id`` and ``num_shards``, or None."""
        return shard_of(self.shard_id, self.num_shards, overwrite=self.overwrite)


@dataclass(frozen=True)
class SynthReport:
    """What a synthesis run came to; if it is one shard of several, of its own lines alone.

    Attributes:
        out: the folder.
        model: the model's folder, as it was named.
        utterances: lines of text.
        reused: of them, spoken by an earlier try.
        finished: whether the folder is whole and has its index; if not, lines of other shards are missing.
        succeeded: lines whose speech, every sentence of it, came to its end.
        success_rate: their share.
        failures: the others, by reason.
        sentences: pieces that were spoken; more than lines if long texts were split.
        seconds_audio: in the folder.
        seconds_wall: that speaking took in this run.
        rtf: wall time over audio of the lines spoken in this run, model and codec together; None if there were none.
        speed: seconds of that audio a second.
        steps_per_second: of the model, candidates that were not kept included.
        first_codes_seconds: median over lines: from the start to the first step of codes.
        first_audio_seconds: median over lines: audio is decoded when the codes are whole, so this is the whole time.
        wavs: the sound files.
    """

    out: str
    model: str
    utterances: int
    reused: int
    finished: bool
    succeeded: int
    success_rate: float
    failures: dict[str, int]
    sentences: int
    seconds_audio: float
    seconds_wall: float
    rtf: float | None
    speed: float | None
    steps_per_second: float | None
    first_codes_seconds: float | None
    first_audio_seconds: float | None
    wavs: list[str] = field(default_factory=list)

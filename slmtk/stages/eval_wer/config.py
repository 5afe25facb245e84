"""Settings of a score, and the protocol that they amount to: what decides which number comes out of the same speech."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from slmtk.corpus import CorpusConfig
from slmtk.errors import ConfigError
from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.protocols import AGGREGATIONS, Protocol, get_protocol
from slmtk.stages.speech_measures import MEASURES

CUSTOM = "custom"
_UNSET = Protocol(
    name=CUSTOM,
    recognizer="pocketsphinx",
    recognizer_model=None,
    recognizer_revision=None,
    normalizer="whisper-english",
    aggregation="corpus",
    language="en",
    unit="word",
    prompt="as the sources have it",
    similarity=None,
    source="",
)
_SPELLED = {"asr_model": "recognizer_model"}


@dataclass(frozen=True)
class EvalConfig:
    """Settings of a score; everything but where it runs changes the numbers."""

    protocol: str | None = None
    """Published way of scoring, which sets the six that follow; None: they are as given."""
    recognizer: str | None = None
    """Name of the recogniser's plug-in; None: the protocol's, or pocketsphinx."""
    asr_model: str | None = None
    """Local folder or hub id of the recogniser's model."""
    recognizer_revision: str | None = None
    """Tag or commit of a hub id; None: the protocol's, or the newest."""
    normalizer: str | None = None
    """What makes texts comparable, of `slmtk.metrics.normalize`; None: the protocol's, or whisper-english."""
    aggregation: str | None = None
    """Which rate is the headline: "corpus" or "mean" (of utterances); None: the protocol's, or corpus."""
    language: str | None = None
    """That is spoken; None: the protocol's, or en."""
    grammar: Path | None = None
    """JSGF file that closes the recogniser's vocabulary."""
    cache: Path | None = None
    """Folder of transcripts, so that what was recognised before is not again; None: everything is recognised."""
    similarity: bool = True
    """Compare voices where there is something to compare with."""
    measures: tuple[str, ...] = ("sim-o",)
    """What else to measure: names of `slmtk.stages.speech_measures.MEASURES`."""
    speaker_encoders: tuple[str, ...] = ()
    """Plug-ins, each "NAME" or "NAME:MODEL"; none: the protocol's, or resemblyzer."""
    references: Path | None = None
    """File (fields id, text, reference) of the voices to compare with, instead of those that HYP names itself."""
    ceilings: tuple[tuple[str, str], ...] = ()
    """Name and source of other speech of the same utterances, such as the recordings, that is scored beside."""
    against: Path | None = None
    """Folder of another system's scores, to test the difference."""
    allow_missing: bool = False
    """Count utterances without speech as failures."""
    only_common: bool = False
    """Leave out utterances that one side alone has."""
    limit: int | None = None
    """Score so many utterances at most, spread evenly over the sorted ids."""
    group_by: tuple[str, ...] = ()
    """Also score groups: "speaker", "length" (words of the text), or a column of the corpus."""
    worst: int = 20
    """How many of the worst utterances are written down with their alignment."""
    bootstrap_samples: int = 1000
    """Draws for an interval."""
    seed: int = 0
    """Of the draws."""
    workers: int = 1
    """Processes of the recogniser."""
    device: str = "auto"
    """Where models run: cpu, cuda, cuda:N or auto."""
    codec_checkpoint: Path | None = None
    """Weights of the codec of a folder of codes."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """Layout and columns of REF, if it is recordings."""

    def __post_init__(self) -> None:
        """Check numbers and names.

        Raises:
            ConfigError: a number is not positive, a name is unknown, or an option contradicts the protocol.
        """
        numbers = {"limit": self.limit, "bootstrap samples": self.bootstrap_samples, "workers": self.workers}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise ConfigError(f"{name}: {number}; expected 1 or more")
        if self.worst < 0:
            raise ConfigError(f"worst: {self.worst}; expected 0 or more")
        if self.aggregation not in (None, *AGGREGATIONS):
            raise ConfigError(f"no aggregation {self.aggregation!r}; available: {', '.join(AGGREGATIONS)}")
        unknown = [name for name in self.measures if name.partition(":")[0] not in MEASURES]
        if unknown:
            raise ConfigError(f"no measure {unknown[0]!r}; available: {', '.join(MEASURES)}")
        names = [name for name, _ in self.ceilings]
        if len(set(names)) < len(names) or not all(name.replace("-", "").replace("_", "").isalnum() for name in names):
            raise ConfigError(
                f"ceilings {', '.join(map(repr, names))}; each needs a name of its own, of letters, digits, - and _"
            )
        get_normalizer(self.chosen_protocol().normalizer)

    def chosen_protocol(self) -> Protocol:
        """Return the protocol that is named, or one called "custom" with the settings that are given.

        Raises:
            ConfigError: no such protocol, or an option says something else than the protocol.
        """
        given = {
            _SPELLED.get(name, name): getattr(self, name)
            for name in ("recognizer", "asr_model", "recognizer_revision", "normalizer", "aggregation", "language")
            if getattr(self, name) is not None
        }
        if self.protocol is None:
            return dataclasses.replace(_UNSET, **given)
        protocol = get_protocol(self.protocol)
        differences = [
            f"--{name.replace('_', '-')} is {value}, the protocol has {getattr(protocol, name) or 'none'}"
            for name, value in given.items()
            if value != getattr(protocol, name)
        ]
        if self.grammar is not None:
            differences.append(f"--grammar is {self.grammar}, the protocol has none")
        if differences:
            raise ConfigError(
                f"not protocol {self.protocol}: {'; '.join(differences)}; leave those options out, or --protocol"
            )
        return protocol

    def encoders(self) -> tuple[str, ...]:
        """Speaker encoders: those that are named, or the protocol's, or resemblyzer."""
        return self.speaker_encoders or (self.chosen_protocol().similarity or "resemblyzer",)

    def heard(self) -> tuple[str, ...]:
        """Measures to take: without ``similarity`` those of voices are left out."""
        voices = () if self.similarity else ("sim-o", "sim-r", "timbre")
        return tuple(name for name in self.measures if name.partition(":")[0] not in voices)

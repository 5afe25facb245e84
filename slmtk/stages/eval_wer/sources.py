"""What is scored: the texts, the system's speech in one run or several, and what it could at best be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slmtk.corpus import CorpusConfig
from slmtk.errors import ConfigError
from slmtk.stages.eval_wer.config import EvalConfig
from slmtk.stages.eval_wer.groups import LENGTH, SPEAKER
from slmtk.stages.scoring import Pair, Pairs, pair_all
from slmtk.stages.speech_sources import SpeechSource, Spoken, open_speech, with_references


@dataclass(frozen=True)
class System:
    """Speech that gets a row of its own.

    Attributes:
        name: "" for the system itself, else the ceiling's.
        sources: where the speech of each run lies.
        kind: of the first run's source.
        codec: of the first run's codes, if they are codes.
        runs: [R][N] pairs, the same utterances in each.
    """

    name: str
    sources: list[str]
    kind: str
    codec: str | None
    runs: list[list[Pair]]

    @property
    def source(self) -> str:
        """All places in one line."""
        return ", ".join(self.sources)


@dataclass(frozen=True)
class Sources:
    """All that is scored: ``systems`` begins with the one in question; the numbers say what was left out of it."""

    reference: str
    systems: list[System]
    without_text: int
    only_one_side: int


def open_sources(reference: Path | str, hypotheses: Sequence[Path | str], config: EvalConfig, device: str) -> Sources:
    """Open the texts and all speech, and join them.

    Raises:
        CorpusError: texts or speech are missing.
        FormatError: a source cannot be read.
        ConfigError: a source is named twice among the runs.
    """
    named = [str(source) for source in hypotheses]
    if len(set(named)) < len(named):
        raise ConfigError(f"{', '.join(named)}: runs of one system; each has to be another one")
    checkpoint = config.codec_checkpoint
    meant = open_speech(reference, with_columns(config), device=device, checkpoint=checkpoint)
    opened = {str(reference): meant}
    for source in (*named, *(source for _, source in config.ceilings)):
        if source not in opened:
            opened[source] = open_speech(source, device=device, checkpoint=checkpoint)
    runs = [opened[source] for source in named] or [meant]
    if config.references:
        runs = [with_references(run, config.references) for run in runs]
    beside = [_voices_of(runs[0], opened[source]) for _, source in config.ceilings]
    pairs = pair_all(
        meant,
        [*runs, *beside],
        allow_missing=config.allow_missing,
        only_common=config.only_common,
        limit=config.limit,
    )
    systems = [_system("", runs, pairs[: len(runs)], meant)]
    for (name, _), ceiling, found in zip(config.ceilings, beside, pairs[len(runs) :], strict=True):
        systems.append(_system(name, [ceiling], [found], meant))
    return Sources(meant.name, systems, pairs[0].without_text, pairs[0].only_one_side)


def with_columns(config: EvalConfig) -> CorpusConfig:
    """Keep the columns that scores are grouped by, if they are those of a manifest."""
    kept = config.corpus.keep_columns
    more = tuple(name for name in config.group_by if name not in (SPEAKER, LENGTH, "language", *kept))
    return dataclasses.replace(config.corpus, keep_columns=(*kept, *more)) if more else config.corpus


def _voices_of(system: SpeechSource, ceiling: SpeechSource) -> SpeechSource:
    """Compare the ceiling with the voices that the system was asked for."""

    def voice(key: str, spoken: Spoken) -> Path | None:
        asked = system.utterances.get(key)
        return (asked and asked.reference) or spoken.reference

    utterances = {
        key: dataclasses.replace(spoken, reference=voice(key, spoken)) for key, spoken in ceiling.utterances.items()
    }
    return dataclasses.replace(ceiling, utterances=utterances)


def _system(name: str, sources: Sequence[SpeechSource], pairs: Sequence[Pairs], meant: SpeechSource) -> System:
    # What is scored against its own recordings has no original to be compared with.
    runs = [
        [_alone(pair) for pair in found.pairs] if source.name == meant.name else found.pairs
        for source, found in zip(sources, pairs, strict=True)
    ]
    first = sources[0]
    return System(name, [source.name for source in sources], first.kind, first.codec, runs)


def _alone(pair: Pair) -> Pair:
    return dataclasses.replace(pair, meant=dataclasses.replace(pair.meant, read=None))

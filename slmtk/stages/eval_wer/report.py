"""What `eval_wer` hands over: a system's numbers, and everything that decided them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.asr.base import Recognizer
from slmtk.asr.cache import CachedRecognizer
from slmtk.config import to_jsonable
from slmtk.stages.eval_wer.against import Against
from slmtk.stages.eval_wer.config import EvalConfig
from slmtk.stages.eval_wer.run import Heard
from slmtk.stages.eval_wer.seeds import SeedScore, Spread, seed_scores, spreads
from slmtk.stages.eval_wer.sources import Sources
from slmtk.stages.eval_wer.summary import Summary, headline, summarize


@dataclass(frozen=True, kw_only=True)
class EvalReport(Summary):
    """What speech scored, and how it was scored; beside what a `Summary` has:

    Attributes:
        out: folder of scores.json, utterances.jsonl and worst.txt.
        reference: source of the texts.
        hypothesis: sources of the speech.
        protocol: the settings that decide which number comes out, with their digest.
        recognizer: engine, model and revision, as the recogniser names itself.
        normalizer: of texts.
        headline: the error rate that the protocol means.
        seeds: each run's own score, if there are several.
        spread: of their numbers.
        ceilings: by name, what other speech of the same utterances scored.
        against: the differences from another system's scores.
        not_measured: "MEASURE: reason" -> utterances that a measure could not judge, over all speech.
        without_text: utterances left out for want of a text.
        only_one_side: utterances left out since one side lacks them.
        unreadable: files that could not be read; they are among the failures.
        cached: transcripts that were there from an earlier run.
        seconds_audio: heard.
        seconds_recognition: wall time of the recogniser alone.
        settings: that were asked for.
    """

    out: str
    reference: str
    hypothesis: str
    protocol: Mapping[str, Any]
    recognizer: str
    normalizer: str
    headline: Mapping[str, Any]
    seeds: list[SeedScore]
    spread: dict[str, Spread]
    ceilings: dict[str, Summary]
    against: Against | None
    not_measured: dict[str, int]
    without_text: int
    only_one_side: int
    unreadable: int
    cached: int
    seconds_audio: float
    seconds_recognition: float
    settings: dict[str, Any]


def make_report(
    out: Path,
    config: EvalConfig,
    sources: Sources,
    heard: Heard,
    protocol: Mapping[str, Any],
    recognizer: Recognizer,
    not_measured: Mapping[str, int],
) -> EvalReport:
    """Summarise every system and say how it was scored; ``protocol`` is the resolved one with its digest."""
    draws = (config.bootstrap_samples, config.seed)
    summaries = [
        summarize(system.source, runs, *draws) for system, runs in zip(sources.systems, heard.lines, strict=True)
    ]
    own, runs = summaries[0], heard.lines[0]
    seeds = seed_scores(sources.systems[0].sources, runs) if len(runs) > 1 else []
    return EvalReport(
        **{name: getattr(own, name) for name in (field.name for field in dataclasses.fields(own))},
        out=str(out),
        reference=sources.reference,
        hypothesis=own.source,
        protocol=protocol,
        recognizer=recognizer.name,
        normalizer=str(protocol["normalizer"]),
        headline=headline(own, str(protocol["aggregation"])),
        seeds=seeds,
        spread=spreads(seeds) if seeds else {},
        ceilings={system.name: summary for system, summary in zip(sources.systems[1:], summaries[1:], strict=True)},
        against=None,
        not_measured=dict(not_measured),
        without_text=sources.without_text,
        only_one_side=sources.only_one_side,
        unreadable=heard.unreadable,
        cached=recognizer.hits if isinstance(recognizer, CachedRecognizer) else 0,
        seconds_audio=round(heard.seconds_audio, 3),
        seconds_recognition=round(heard.seconds_recognition, 3),
        settings=to_jsonable(config),
    )

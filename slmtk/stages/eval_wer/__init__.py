"""Score speech: recognise it, compare with what was meant, and say how sure the numbers are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slmtk.asr.base import Recognizer, load_recognizer
from slmtk.asr.cache import CachedRecognizer
from slmtk.config import to_jsonable, write_json, write_text
from slmtk.device import resolve_device
from slmtk.errors import ConfigError
from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.protocols import Protocol
from slmtk.progress import Progress
from slmtk.stages.eval_wer.against import (
    SCORES_NAME,
    UTTERANCES_NAME,
    Against,
    Scored,
    check_protocol,
    check_texts,
    compare_runs,
    read_scores,
)
from slmtk.stages.eval_wer.config import CUSTOM, EvalConfig
from slmtk.stages.eval_wer.plan import plan
from slmtk.stages.eval_wer.report import EvalReport, make_report
from slmtk.stages.eval_wer.run import Heard, Rules, score_all
from slmtk.stages.eval_wer.sources import System, open_sources
from slmtk.stages.eval_wer.summary import ErrorRate, GroupScore, Mean, Summary
from slmtk.stages.eval_wer.worst import worst_text
from slmtk.stages.scoring import UtteranceScore
from slmtk.stages.speech_measures import SpeechMeasures

__all__ = [
    "SCORES_NAME",
    "UTTERANCES_NAME",
    "WORST_NAME",
    "Against",
    "ErrorRate",
    "EvalConfig",
    "EvalReport",
    "GroupScore",
    "Mean",
    "Scored",
    "Summary",
    "compare_runs",
    "eval_wer",
    "plan",
    "read_scores",
]

WORST_NAME = "worst.txt"


def eval_wer(
    reference: Path | str,
    hypothesis: Path | str | Sequence[Path | str] | None,
    out: Path,
    config: EvalConfig,
    progress: Progress,
) -> EvalReport:
    """Score the speech of ``hypothesis`` against the texts, and the voices, of ``reference``.

    Args:
        reference: recordings with texts, codes with texts, or synthesised speech.
        hypothesis: recordings, codes or synthesised speech, or several: runs (seeds) of one system over the same
            utterances. None scores the speech of ``reference`` itself.
        out: folder for scores.json, utterances.jsonl, worst.txt, and ceiling-NAME.jsonl of each ceiling.
        config: how to score.
        progress: told of utterances done.

    Raises:
        CorpusError: texts or speech are missing.
        FormatError: a source, grammar, model or earlier score cannot be read.
        ConfigError: a setting cannot be used, or the score that is compared with was made in another way.
    """
    device, chosen = resolve_device(config.device), config.chosen_protocol()
    other = None if config.against is None else read_scores(config.against)
    if other is not None and config.against is not None and config.against.resolve() == out.resolve():
        raise ConfigError(f"{out} would be written over the scores to compare with; name another --out")
    sources = open_sources(reference, as_sources(hypothesis), config, device)
    recognizer = _recognizer(chosen, config, device, progress)
    protocol = _resolved(chosen, recognizer)
    system = sources.systems[0]
    if other is not None:  # before the long part
        check_protocol({"protocol": protocol, "recognizer": recognizer.name}, other.report, str(other.folder))
        normalize = get_normalizer(chosen.normalizer)
        check_texts({pair.meant.id: normalize(pair.meant.text or "") for pair in system.runs[0]}, other)
    progress.message(
        f"scoring {len(system.runs[0])} utterances ({system.kind}) of {system.source} with {recognizer.name}"
    )
    rules = Rules(chosen.normalizer, chosen.unit, config.group_by)
    measures = _measures(config, system, device)
    heard = score_all(sources.systems, recognizer, measures, rules, progress)
    not_measured = measures.left_out if measures else {}
    report = make_report(out, config, sources, heard, protocol, recognizer, not_measured)
    return _write(out, sources.systems, heard, report, other, config)


def as_sources(hypothesis: Path | str | Sequence[Path | str] | None) -> list[Path | str]:
    """Return the runs as a list; none if the reference's own speech is scored."""
    if hypothesis is None:
        return []
    return [hypothesis] if isinstance(hypothesis, (str, Path)) else list(hypothesis)


def _recognizer(protocol: Protocol, config: EvalConfig, device: str, progress: Progress) -> Recognizer:
    recognizer = load_recognizer(
        protocol.recognizer,
        model=protocol.recognizer_model,
        revision=protocol.recognizer_revision,
        grammar=config.grammar,
        device=device,
        language=protocol.language,
    )
    recognizer.workers = config.workers
    return recognizer if config.cache is None else CachedRecognizer(recognizer, config.cache, message=progress.message)


def _resolved(protocol: Protocol, recognizer: Recognizer) -> dict[str, Any]:
    """The protocol as it is written down; a custom one holds what its recogniser turned out to be."""
    if protocol.name == CUSTOM:
        protocol = dataclasses.replace(protocol, recognizer_model=recognizer.name)
    return {"name": protocol.name, "digest": protocol.digest, **to_jsonable(protocol)}


def _measures(config: EvalConfig, system: System, device: str) -> SpeechMeasures | None:
    if not config.heard():
        return None
    return SpeechMeasures(
        config.heard(),
        encoders=config.encoders(),
        device=device,
        originals=True,
        codec=system.codec,
        checkpoint=config.codec_checkpoint,
    )


def _write(
    out: Path,
    systems: Sequence[System],
    heard: Heard,
    report: EvalReport,
    other: Scored | None,
    config: EvalConfig,
) -> EvalReport:
    """Write the lines, compare them with the other system's, and write the report last."""
    (out / SCORES_NAME).unlink(missing_ok=True)  # its presence means that the folder is whole
    lines = [line for run in heard.lines[0] for line in run]
    write_text(out / UTTERANCES_NAME, _json_lines(lines))
    for system, runs in zip(systems[1:], heard.lines[1:], strict=True):
        write_text(out / f"ceiling-{system.name}.jsonl", _json_lines(line for run in runs for line in run))
    write_text(out / WORST_NAME, worst_text(lines, config.worst, str(report.protocol["unit"])))
    if other is not None:
        ours = Scored(out, to_jsonable(report), [to_jsonable(line) for line in lines])
        against = compare_runs(ours, other, samples=config.bootstrap_samples, seed=config.seed)
        report = dataclasses.replace(report, against=against)
    write_json(out / SCORES_NAME, report)
    return report


def _json_lines(lines: Iterable[UtteranceScore]) -> str:
    return "".join(json.dumps(to_jsonable(line), ensure_ascii=False) + "\n" for line in lines)

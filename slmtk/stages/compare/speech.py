"""A folder that `eval_wer` wrote -> a row of `compare`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slmtk.errors import FormatError
from slmtk.stages.compare.facts import facts_of_speech, place_of
from slmtk.stages.compare.report import HIGHER, LOWER, Metric, Value
from slmtk.stages.compare.systems import SCORED_BY, System, Tested
from slmtk.stages.eval_wer import Scored, compare_runs, read_scores

_RATES = (
    Metric("wer", "WER %", True, LOWER),
    Metric("mean_utterance_wer", "mean WER %", True, LOWER),
    Metric("cer", "CER %", True, LOWER),
    Metric("success", "spoken %", True, HIGHER),
)
# How the names of `slmtk.stages.speech_measures` begin; they end with their encoder, codec or weights.
_LOWER = ("f0 rmse", "voicing error", "mcd")
_HIGHER = ("sim-", "timbre", "dnsmos", "utmos", "f0 correlation", "pesq", "stoi", "estoi")


def read_speech(folder: Path) -> System:
    """Read the scores of speech in ``folder``.

    Raises:
        FormatError: they are not there, not whole, or of an older version.
    """
    scored = read_scores(folder)
    try:
        return _system(folder, scored)
    except (KeyError, TypeError) as error:
        raise FormatError(f"{folder} holds damaged scores ({error!r}); score the speech again") from error


def _system(folder: Path, scored: Scored) -> System:
    report = scored.report
    protocol: Mapping[str, Any] = report["protocol"]
    alike = {name: str(value) for name, value in protocol.items() if name not in ("digest", "source")}
    return System(
        name="",
        folder=folder,
        # A protocol of no name holds the resolved recogniser as its model.
        scored={SCORED_BY: "eval-wer", **alike, "recognizer_model": str(report["recognizer"])},
        protocol=f"{protocol['name']} {protocol['digest']}",
        recognizer=str(report["recognizer"]),
        utterances={
            str(line["id"]): (str(line["reference_normalized"]), str(line["reference"])) for line in scored.lines
        },
        metrics=dict(_metrics(report)),
        facts=facts_of_speech([place_of(source, report["out"], folder) for source in _sources(report)]),
        test=_test,
        source=scored,
    )


def _sources(report: Mapping[str, Any]) -> list[str]:
    return [str(seed["source"]) for seed in report["seeds"]] or [str(report["hypothesis"])]


def _metrics(report: Mapping[str, Any]) -> Iterable[tuple[Metric, Value]]:
    """The rate that the protocol means comes first."""
    leading = report["headline"]["name"]
    for metric in sorted(_RATES, key=lambda rate: rate.key != leading):
        yield metric, _value(report[metric.key], report["utterances"])
    for name, mean in report["measures"].items():
        yield measure(name), _value(mean, report["utterances"])


def measure(name: str) -> Metric:
    """Return the column of a measure; one that is not ours has no better side."""
    better = LOWER if name.startswith(_LOWER) else HIGHER if name.startswith(_HIGHER) else ""
    return Metric(name, name, False, better)


def _value(numbers: Mapping[str, Any], utterances: int) -> Value:
    mean = numbers["rate"] if "rate" in numbers else numbers["mean"]
    return Value(mean, numbers["low"], numbers["high"], numbers.get("utterances", utterances))


def _test(ours: System, theirs: System, samples: int, seed: int) -> Tested:
    common = ours.common(theirs)
    if not common:
        return Tested(0, {})
    against = compare_runs(_only(ours, common), _only(theirs, common), samples=samples, seed=seed, same_protocol=False)
    return Tested(against.utterances, against.differences)


def _only(system: System, ids: set[str]) -> Scored:
    """Keep the lines of ``ids``, whose texts are known to be the same: before, if not after, the normalisers."""
    scored = system.source
    assert isinstance(scored, Scored)
    lines = [{**line, "reference_normalized": ""} for line in scored.lines if str(line["id"]) in ids]
    return dataclasses.replace(scored, lines=lines)

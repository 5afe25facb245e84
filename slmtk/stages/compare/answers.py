"""A folder that `roletrivia` wrote -> rows of `compare`: the model, and each of its baselines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmtk.errors import ConfigError, FormatError
from slmtk.metrics.intervals import Floats, bootstrap_mean
from slmtk.metrics.paired import Paired, paired_bootstrap, paired_bootstrap_mean
from slmtk.stages.compare.facts import facts_of_answers, place_of
from slmtk.stages.compare.report import HIGHER, LOWER, Metric, Value
from slmtk.stages.compare.systems import SCORED_BY, System, Tested

# What `slmtk.stages.roletrivia` calls its files and the model; to import it loads every kind of model there is.
SCORES_NAME, RUN_NAME, ANSWERS_NAME, BASELINES_NAME, MODEL = (
    "scores.json",
    "run.json",
    "answers.jsonl",
    "baselines",
    "model",
)
_SHARES = {
    "em_text": Metric("em_text", "EM text %", True, HIGHER),
    "f1_text": Metric("f1_text", "F1 text %", True, HIGHER),
    "em_speech": Metric("em_speech", "EM heard %", True, HIGHER),
    "f1_speech": Metric("f1_speech", "F1 heard %", True, HIGHER),
}
_WER = Metric("text_speech_wer", "text-speech WER %", True, LOWER)
_SUCCESS = Metric("success", "spoken %", True, HIGHER)
Lines = list[dict[str, Any]]


def read_answers(folder: Path, values: Mapping[str, Any], split: str | None) -> list[System]:
    """Read the scores of answers in ``folder``.

    Args:
        folder: of the run.
        values: its scores.json.
        split: the questions of this split alone.

    Raises:
        FormatError: they are not whole, or of an older version.
        ConfigError: there are no questions of the split.
    """
    try:
        config, report = values["config"], values["scores"]
        folders = _folders(folder)
        return [
            _system(folder, folders[name], name, groups, report, config, split)
            for name, groups in report["systems"].items()
        ]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise FormatError(
            f"{folder} holds no scores of this version of slmtk roletrivia-bench ({error!r}); run the benchmark again "
            "into the same folder: what was answered is kept"
        ) from error


def _folders(folder: Path) -> dict[str, Path]:
    """Where the answers of each system are."""
    runs = [folder / RUN_NAME, *sorted((folder / BASELINES_NAME).glob(f"*/{RUN_NAME}"))]
    return {json.loads(run.read_text(encoding="utf-8"))["system"]: run.parent for run in runs if run.is_file()}


def _system(
    folder: Path,
    own: Path,
    name: str,
    groups: Mapping[str, Any],
    report: Mapping[str, Any],
    config: Mapping[str, Any],
    split: str | None,
) -> System:
    if split is not None and split not in groups["splits"]:
        raise ConfigError(f"{folder} has no split {split!r}; found {', '.join(groups['splits'])}")
    texts = (own / ANSWERS_NAME).read_text(encoding="utf-8").split("\n")
    lines = [line for line in map(json.loads, filter(None, texts)) if split in (None, line["split"])]
    model = place_of(config["model"], report["out"], folder) if name == MODEL else None
    recognizer, normalizer = str(report["recognizer"]), str(report["normalizer"])
    return System(
        name="" if name == MODEL or len(report["systems"]) == 1 else name,
        folder=folder,
        scored={SCORED_BY: "roletrivia-bench", "recognizer": recognizer, "normalizer": normalizer},
        protocol="roletrivia-bench" + (f", split {split}" if split else ""),
        recognizer=recognizer,
        utterances={str(line["id"]): (line["question"], line["question"]) for line in lines},
        metrics=dict(_metrics(groups["splits"][split] if split else groups["all"], lines, str(report["encoder"]))),
        facts=facts_of_answers(model, lines),
        test=_test,
        source=lines,
    )


def _metrics(scores: Mapping[str, Any], lines: Lines, encoder: str) -> Iterable[tuple[Metric, Value]]:
    count = len(lines)
    for key, metric in _SHARES.items():
        if scores[key] is not None:
            yield metric, _value(scores[key], count)
    if scores["wer"] is not None:
        yield _WER, _value(scores["wer"], count)
    if any(line["transcript"] is not None for line in lines):
        spoken = [float(not line["reason"]) for line in lines]
        interval = bootstrap_mean(spoken)
        yield _SUCCESS, Value(sum(spoken) / count, interval.low, interval.high, count)
    for key, metric in _similarities(encoder).items():
        if scores[key] is not None:
            yield metric, _value(scores[key], sum(line[key] is not None for line in lines))


def _similarities(encoder: str) -> dict[str, Metric]:
    own = Metric(f"similarity {encoder} to role", f"sim {encoder} to role", False, HIGHER)
    other = Metric(f"similarity {encoder} to other roles", f"sim {encoder} to other roles", False, "")
    return {"similarity": own, "similarity_other_roles": other}


def _value(numbers: Mapping[str, float], count: int) -> Value:
    return Value(numbers["value"], numbers["low"], numbers["high"], count)


def _test(ours: System, theirs: System, samples: int, seed: int) -> Tested:
    common = sorted(ours.common(theirs))
    first, second = _by_id(ours, common), _by_id(theirs, common)
    found: dict[str, Paired] = {}
    for metric in ours.metrics:
        if metric in theirs.metrics:
            if metric == _WER:
                a, b = _errors(first), _errors(second)
                if a[1].any() and b[1].any():
                    found[metric.key] = paired_bootstrap(*a, *b, samples, seed)
                continue
            one, two = _column(first, metric.key), _column(second, metric.key)
            both = ~(np.isnan(one) | np.isnan(two))
            if both.any():
                found[metric.key] = paired_bootstrap_mean(one[both], two[both], samples, seed)
    return Tested(len(common), found)


def _by_id(system: System, ids: Sequence[str]) -> Lines:
    assert isinstance(system.source, list)
    lines = {str(line["id"]): line for line in system.source}
    return [lines[key] for key in ids]


def _errors(lines: Lines) -> tuple[Floats, Floats]:
    errors, words = ([float(line[name] or 0) for line in lines] for name in ("word_errors", "words"))
    return np.array(errors), np.array(words)


def _column(lines: Lines, key: str) -> Floats:
    if key == _SUCCESS.key:
        return np.array([float(not line["reason"]) for line in lines])
    name = key
    if key.startswith("similarity"):
        name = "similarity" if key.endswith("to role") else "similarity_other_roles"
    return np.array([np.nan if line[name] is None else line[name] for line in lines], np.float64)

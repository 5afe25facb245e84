"""Two systems' scores, read from their folders -> which is better, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmtk.errors import ConfigError, FormatError
from slmtk.metrics.intervals import Floats
from slmtk.metrics.paired import Paired, paired_bootstrap, paired_bootstrap_mean

SCORES_NAME = "scores.json"
UTTERANCES_NAME = "utterances.jsonl"
_NAMED = 5


@dataclass(frozen=True)
class Scored:
    """What `eval_wer` wrote: ``report`` is scores.json, ``lines`` are those of utterances.jsonl."""

    folder: Path
    report: dict[str, Any]
    lines: list[dict[str, Any]]


@dataclass(frozen=True)
class Against:
    """How far the system differs from another one, over the utterances that both were scored on.

    Attributes:
        source: folder of the other one's scores.
        utterances: compared.
        differences: number -> ours less theirs: wer, cer, mean_utterance_wer, success, and measures that both have.
    """

    source: str
    utterances: int
    differences: dict[str, Paired]


def read_scores(folder: Path) -> Scored:
    """Read what `eval_wer` wrote into ``folder``.

    Raises:
        FormatError: it is not there, or not whole.
    """
    for name in (SCORES_NAME, UTTERANCES_NAME):
        if not (folder / name).is_file():
            raise FormatError(f"{folder} has no {name}; name a folder that slmtk eval-wer has written")
    try:
        report = json.loads((folder / SCORES_NAME).read_text(encoding="utf-8"))
        texts = (folder / UTTERANCES_NAME).read_text(encoding="utf-8").splitlines()
        lines = [json.loads(text) for text in texts if text.strip()]
        # Older versions wrote neither.
        if "digest" not in report["protocol"] or any("run" not in line for line in lines):
            raise KeyError("protocol")
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{folder} holds no scores of this version of slmtk eval-wer ({error!r}); score the speech again"
        ) from error
    return Scored(folder, report, lines)


def compare_runs(
    ours: Scored, theirs: Scored, *, samples: int = 1000, seed: int = 0, same_protocol: bool = True
) -> Against:
    """Test the differences between two systems by paired bootstrap.

    Args:
        ours: the first system.
        theirs: the second one.
        samples: draws.
        seed: of the draws.
        same_protocol: refuse scores of another protocol or recogniser.

    Raises:
        ConfigError: the systems were not scored alike, or not on the same utterances.
    """
    if same_protocol:
        check_protocol(ours.report, theirs.report, str(theirs.folder))
    first, second = _runs(ours.lines), _runs(theirs.lines)
    check_texts({str(line["id"]): str(line["reference_normalized"]) for line in first[0]}, theirs)
    draws = (samples, seed)
    differences = {
        name: paired_bootstrap(*_edits(first, key), *_edits(second, key), *draws)
        for name, key in (("wer", "words"), ("cer", "characters"))
    }
    differences["mean_utterance_wer"] = paired_bootstrap_mean(_rates(first), _rates(second), *draws)
    differences["success"] = paired_bootstrap_mean(_spoken(first), _spoken(second), *draws)
    for name in ours.report["measures"]:
        if name in theirs.report["measures"]:
            a, b = _values(first, name), _values(second, name)
            both = ~(np.isnan(a).all(axis=0) | np.isnan(b).all(axis=0))
            if both.any():
                differences[name] = paired_bootstrap_mean(a[:, both], b[:, both], *draws)
    return Against(str(theirs.folder), len(first[0]), differences)


def check_protocol(ours: dict[str, Any], theirs: dict[str, Any], folder: str) -> None:
    """Refuse two reports whose numbers do not compare.

    Raises:
        ConfigError: their protocols or recognisers differ; the differences are named.
    """
    names = dict.fromkeys([*ours["protocol"], *theirs["protocol"]])
    differences = [
        f"{name} {theirs['protocol'].get(name)!r} there, {ours['protocol'].get(name)!r} here"
        for name in names
        if name != "digest" and ours["protocol"].get(name) != theirs["protocol"].get(name)
    ]
    if not differences and ours["recognizer"] != theirs["recognizer"]:
        differences = [f"recognizer {theirs['recognizer']!r} there, {ours['recognizer']!r} here"]
    if differences:
        raise ConfigError(f"{folder} was scored in another way: {'; '.join(differences)}; score both alike")


def _runs(lines: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    runs: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        runs.setdefault(line["run"], []).append(line)
    return [sorted(run, key=lambda line: str(line["id"])) for _, run in sorted(runs.items())]


def check_texts(ours: Mapping[str, str], theirs: Scored) -> None:
    """Refuse scores of other utterances.

    Args:
        ours: id -> normalised text.
        theirs: what is compared with.

    Raises:
        ConfigError: ids or texts differ; the first are named.
    """
    other = {str(line["id"]): str(line["reference_normalized"]) for line in theirs.lines}
    different = [key for key in sorted(ours.keys() | other.keys()) if ours.get(key) != other.get(key)]
    if different:
        shown = ", ".join(different[:_NAMED]) + (", ..." if len(different) > _NAMED else "")
        raise ConfigError(
            f"{theirs.folder} was scored on other utterances or texts: {len(different)} differ ({shown}); "
            "score both on the same, for example with --only-common and the same --limit"
        )


def _edits(runs: Sequence[Sequence[dict[str, Any]]], key: str) -> tuple[Floats, Floats]:
    counts = np.array(
        [
            [[line[key][edit] for edit in ("substitutions", "deletions", "insertions", "hits")] for line in run]
            for run in runs
        ],
        np.float64,
    )
    return counts[:, :, :3].sum(axis=2), counts[:, :, [0, 1, 3]].sum(axis=2)


def _rates(runs: Sequence[Sequence[dict[str, Any]]]) -> Floats:
    errors, words = _edits(runs, "words")
    rates: Floats = np.where(words > 0, errors / np.maximum(words, 1), errors > 0)
    return rates


def _spoken(runs: Sequence[Sequence[dict[str, Any]]]) -> Floats:
    return np.array([[not line["reason"] for line in run] for run in runs], np.float64)


def _values(runs: Sequence[Sequence[dict[str, Any]]], measure: str) -> Floats:
    return np.array([[line["measures"].get(measure, np.nan) for line in run] for run in runs], np.float64)

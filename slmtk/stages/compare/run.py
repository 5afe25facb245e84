"""Scored runs -> one table: are they comparable, which is better, and how sure is that."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from slmtk.errors import ConfigError, FormatError
from slmtk.progress import Progress
from slmtk.stages.compare.answers import read_answers
from slmtk.stages.compare.config import CompareConfig
from slmtk.stages.compare.report import Comparison, Metric, Row, Test, verdict
from slmtk.stages.compare.speech import read_speech
from slmtk.stages.compare.systems import SCORED_BY, System, Tested

_SCORES_NAME = "scores.json"


def compare(runs: Sequence[Path], config: CompareConfig, progress: Progress) -> Comparison:
    """Put scored runs under each other, and test each against the baseline.

    Args:
        runs: folders that `eval_wer` or `roletrivia` wrote; of the latter, each baseline gets a row too.
        config: what to compare with, and how.
        progress: told of rows done.

    Raises:
        FormatError: a folder holds no scores, or damaged ones.
        ConfigError: two runs were scored in different ways (unless that is forced), a run is named twice, or a name
            fits nothing.
    """
    systems = _read(runs, config)
    rows = list(systems)
    chosen = _baseline(rows, systems, config.baseline)
    baseline = systems[chosen]
    forced = _refuse_different(systems, chosen, force=config.force)
    metrics = {metric.key: metric for system in systems.values() for metric in system.metrics}
    table, notes = [], []
    with progress.task("compare", len(rows), "rows") as task:
        for name, system in systems.items():
            tested = Tested(0, {})
            if system is not baseline and system.scored[SCORED_BY] == baseline.scored[SCORED_BY]:
                tested = system.test(system, baseline, config.bootstrap_samples, config.seed)
            if system is not baseline:
                notes += _about_utterances(name, system, chosen, baseline, tested.utterances)
            table.append(_row(name, system, tested, metrics))
            task.advance(1, name)
    return Comparison(chosen, list(metrics.values()), table, config.bootstrap_samples, forced, notes)


def _read(runs: Sequence[Path], config: CompareConfig) -> dict[str, System]:
    """Read all systems, by the names of their rows."""
    twice = [str(run) for run, count in Counter(run.resolve() for run in runs).items() if count > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is named twice; each run once")
    if config.names and len(config.names) != len(runs):
        raise ConfigError(f"{len(config.names)} names for {len(runs)} runs; give a --name for each, in their order")
    systems: dict[str, System] = {}
    for name, run in zip(config.names or names_of(runs), runs, strict=True):
        for system in _systems(run, config.split):
            row = f"{name}/{system.name}" if system.name else name
            if row in systems:
                raise ConfigError(f"two rows would be called {row!r}; tell the runs apart with --name")
            systems[row] = system
    return systems


def _systems(run: Path, split: str | None) -> list[System]:
    path = run / _SCORES_NAME
    if not path.is_file():
        raise FormatError(
            f"{run} has no {_SCORES_NAME}; name folders that slmtk eval-wer or slmtk roletrivia-bench has written"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read as JSON ({error}); score again") from error
    if isinstance(values, dict) and "scores" in values:
        return read_answers(run, values, split)
    if split is not None:
        raise ConfigError(f"{run} holds scores of slmtk eval-wer, which have no splits; leave out --split {split}")
    return [read_speech(run)]


def names_of(runs: Sequence[Path]) -> list[str]:
    """Name each of different ``runs`` by the last parts of its path, as many as tell them all apart."""
    parts = [run.resolve().parts for run in runs]
    names = ["/".join(own[-1:]) for own in parts]
    for count in range(2, max(map(len, parts)) + 1):
        again = Counter(names)
        if max(again.values()) == 1:
            break
        names = ["/".join(own[-count:]) if again[name] > 1 else name for name, own in zip(names, parts, strict=True)]
    return names


def _baseline(rows: Sequence[str], systems: dict[str, System], wanted: str | None) -> str:
    if wanted is None or wanted in systems:
        return wanted or rows[0]
    folder = Path(wanted).resolve()
    for name, system in systems.items():
        if system.folder.resolve() == folder:
            return name
    raise ConfigError(f"--baseline {wanted} is none of the rows; choose one of {', '.join(rows)}")


def _refuse_different(systems: dict[str, System], chosen: str, *, force: bool) -> list[str]:
    """Say how each system was scored in another way than the baseline; without ``force`` the first one is refused."""
    told = []
    for name, system in systems.items():
        differences = system.differences(systems[chosen])
        if differences:
            told.append(f"{name} was scored in another way than {chosen}: {'; '.join(differences)}")
            if not force:
                raise ConfigError(f"{told[0]}; score both alike, or compare them nevertheless with --force")
    return told


def _about_utterances(name: str, system: System, chosen: str, baseline: System, tested: int) -> list[str]:
    if system.scored[SCORED_BY] != baseline.scored[SCORED_BY]:
        return [f"no p-values for {name}: its scores and those of {chosen} are of different commands"]
    ours, theirs = len(system.utterances), len(baseline.utterances)
    if not tested:
        why = "no utterance (same id, same text) is in both"
        return [f"no p-values for {name}: {why} it and {chosen}; the numbers are of different sentences"]
    if tested < max(ours, theirs):
        return [
            f"{name} has {ours} utterances and {chosen} {theirs}: each number is over its own, p-values are over the "
            f"{tested} that both have"
        ]
    return []


def _row(name: str, system: System, tested: Tested, metrics: dict[str, Metric]) -> Row:
    against = {
        key: Test(
            found.difference,
            found.low,
            found.high,
            found.p_value,
            verdict(metrics[key], found.difference, found.p_value),
        )
        for key, found in tested.differences.items()
    }
    return Row(
        name=name,
        folder=str(system.folder),
        protocol=system.protocol,
        recognizer=system.recognizer,
        utterances=len(system.utterances),
        values={metric.key: value for metric, value in system.metrics.items()},
        tested=tested.utterances,
        against=against,
        facts=system.facts,
    )

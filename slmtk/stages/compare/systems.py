"""What was scored, by whichever command: the form that `compare` puts under each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slmtk.metrics.paired import Paired
from slmtk.stages.compare.report import Facts, Metric, Value

SCORED_BY = "scored by"


@dataclass(frozen=True)
class Tested:
    """Differences of one system from another over the ``utterances`` that both have, by metric."""

    utterances: int
    differences: Mapping[str, Paired]


Test = Callable[["System", "System", int, int], Tested]


@dataclass(frozen=True)
class System:
    """One row to be.

    Attributes:
        name: within its run; "" if the run is this system alone.
        folder: of the run.
        scored: everything that has to be alike for numbers to compare, by name.
        protocol: in short.
        recognizer: that heard it.
        utterances: id -> text that was to be said (or the question): as it was compared, and as it was given.
        metrics: its columns in order, with what it scored.
        facts: what its speech cost.
        test: tests (this system, another one of the same command, draws, seed).
        source: what ``test`` reads, in its own form.
    """

    name: str
    folder: Path
    scored: Mapping[str, str]
    protocol: str
    recognizer: str
    utterances: Mapping[str, tuple[str, str]]
    metrics: Mapping[Metric, Value]
    facts: Facts
    test: Test
    source: object

    def differences(self, other: System) -> list[str]:
        """How the ways in which both were scored differ: "NAME 'here', not 'there'"."""
        if self.scored[SCORED_BY] != other.scored[SCORED_BY]:
            return [_difference(SCORED_BY, self.scored[SCORED_BY], other.scored[SCORED_BY])]
        return [
            _difference(name, self.scored.get(name), other.scored.get(name))
            for name in dict.fromkeys([*self.scored, *other.scored])
            if self.scored.get(name) != other.scored.get(name)
        ]

    def common(self, other: System) -> set[str]:
        """Ids of the utterances that both were scored on; of other normalisers, texts are the same as given."""
        return {
            key
            for key, texts in self.utterances.items()
            if any(ours == theirs for ours, theirs in zip(texts, other.utterances.get(key, ()), strict=False))
        }


def _difference(name: str, here: str | None, there: str | None) -> str:
    return f"{name.replace('_', ' ')} {here!r}, not {there!r}"

"""What `compare` hands over: scored systems under each other, as numbers that a table shows or a file keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

LOWER, HIGHER = "lower", "higher"
BETTER, WORSE, DIFFERENT, UNCLEAR = "better", "worse", "different", "unclear"
SIGNIFICANT, VERY_SIGNIFICANT = 0.05, 0.01


@dataclass(frozen=True)
class Metric:
    """A column.

    Attributes:
        key: its name in files.
        label: in a heading.
        percent: shown as per cent; values are shares.
        better: "lower" or "higher"; "" where neither is.
    """

    key: str
    label: str
    percent: bool
    better: str


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval, over ``utterances``."""

    value: float
    low: float
    high: float
    utterances: int


@dataclass(frozen=True)
class Test:
    """How far a system is from the baseline in one metric.

    Attributes:
        difference: the system's number less the baseline's, over the utterances that both have.
        low: lower end of its 95 % interval.
        high: its upper end.
        p_value: two-sided, of the hypothesis that there is no difference; by paired bootstrap.
        verdict: "better", "worse" or (where neither is) "different" if the p-value is below 0.05, else "unclear".
    """

    __test__ = False  # not a test of ours, whatever its name makes pytest believe

    difference: float
    low: float
    high: float
    p_value: float
    verdict: str


@dataclass(frozen=True)
class Facts:
    """What the speech cost, as far as the scores lead to where that is written; None for what is not known.

    Attributes:
        codec: its name.
        bits_per_second: of its codes.
        frame_rate: of its codes, in Hz.
        steps_per_second: of the model while it spoke, where it spoke.
        rtf: wall time over audio while it spoke.
        parameters: of the model.
        weights_bytes: of the files with the model's weights.
    """

    codec: str | None = None
    bits_per_second: float | None = None
    frame_rate: float | None = None
    steps_per_second: float | None = None
    rtf: float | None = None
    parameters: int | None = None
    weights_bytes: int | None = None


@dataclass(frozen=True)
class Row:
    """A system.

    Attributes:
        name: unique in the table.
        folder: of its scores.
        protocol: by which it was scored, with the digest if there is one.
        recognizer: that heard it.
        utterances: scored; questions of a benchmark of answers.
        values: by metric; what it was not scored on is left out.
        tested: utterances (or questions) on which it was tested against the baseline; 0 if it was not.
        against: tests by metric.
        facts: what its speech cost.
    """

    name: str
    folder: str
    protocol: str
    recognizer: str
    utterances: int
    values: dict[str, Value]
    tested: int
    against: dict[str, Test]
    facts: Facts


@dataclass(frozen=True)
class Comparison:
    """The table.

    Attributes:
        baseline: name of the row that the others are tested against.
        metrics: columns, in order.
        rows: in the order in which they were named.
        bootstrap_samples: draws behind a p-value.
        not_comparable: differences between the ways in which systems were scored; only there if that was forced.
        notes: what else has to be known to read the table, a line each.
    """

    baseline: str
    metrics: Sequence[Metric]
    rows: Sequence[Row]
    bootstrap_samples: int
    not_comparable: Sequence[str] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)


def verdict(metric: Metric, difference: float, p_value: float) -> str:
    """Say in one word what a difference from the baseline amounts to."""
    if p_value >= SIGNIFICANT:
        return UNCLEAR
    if not metric.better:
        return DIFFERENT
    return BETTER if (difference < 0) == (metric.better == LOWER) else WORSE


def mark(test: Test | None) -> str:
    """Return what stands beside a number: "**" for p < 0.01, "*" for p < 0.05, else nothing."""
    if test is None or test.p_value >= SIGNIFICANT:
        return ""
    return "**" if test.p_value < VERY_SIGNIFICANT else "*"

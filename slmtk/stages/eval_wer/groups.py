"""Which group an utterance is scored in: its speaker's, its length's, or that of a column of the corpus."""

from __future__ import annotations

from collections.abc import Iterable

from slmtk.stages.speech_sources import Spoken

SPEAKER, LENGTH = "speaker", "length"
_UNKNOWN = "unknown"
# Upper ends, in words (or characters) of the normalised text.
_LENGTHS = (5, 10, 15, 20, 30, 50)


def group_of(by: str, meant: Spoken, units: int) -> str:
    """Return the name of the group.

    Args:
        by: "speaker", "length" or a column.
        meant: the utterance.
        units: words of its normalised text.
    """
    if by == LENGTH:
        return _length(units)
    value = meant.speaker if by == SPEAKER else meant.extra.get(by)
    return _UNKNOWN if value is None else str(value)


def _length(units: int) -> str:
    low = 0
    for high in _LENGTHS:
        if units <= high:
            return f"{low}-{high}"
        low = high + 1
    return f"{low}+"


def in_order(by: str, names: Iterable[str]) -> list[str]:
    """Sort groups by name, lengths from short to long."""
    if by == LENGTH:
        return sorted(names, key=lambda name: int(name.rstrip("+").partition("-")[0]))
    return sorted(names)

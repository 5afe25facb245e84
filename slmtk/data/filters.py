"""Which utterances are fit to be learnt from, and for those that are not, the reason in words that can be counted."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slmtk.errors import ConfigError


@dataclass(frozen=True)
class FilterConfig:
    """Limits; a value on a limit is kept. Characters are counted in the normalised text.

    Attributes:
        min_seconds: shortest audio.
        max_seconds: longest audio.
        min_chars: shortest text; rows without text are always dropped.
        max_chars: longest text, None for no limit.
        min_chars_per_second: slowest speech (less text than audio: wrong transcripts, long silence), None for no limit.
        max_chars_per_second: fastest speech (more text than audio: cut recordings), None for no limit.
        minimums: (column, least value) pairs for numbers that came with the corpus, for example ("dnsmos", 3.5).
    """

    min_seconds: float = 0.3
    max_seconds: float = 30.0
    min_chars: int = 1
    max_chars: int | None = None
    min_chars_per_second: float | None = None
    max_chars_per_second: float | None = None
    minimums: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        """Check that something can pass.

        Raises:
            ConfigError: a lower limit is above its upper one, or a limit is not a number.
        """
        pairs = (
            ("seconds", self.min_seconds, self.max_seconds),
            ("chars", self.min_chars, self.max_chars),
            ("chars_per_second", self.min_chars_per_second, self.max_chars_per_second),
        )
        for name, low, high in pairs:
            if any(limit is not None and math.isnan(limit) for limit in (low, high)):
                raise ConfigError(f"min_{name} and max_{name} must be numbers, not NaN")
            if low is not None and high is not None and low > high:
                raise ConfigError(f"min_{name} {low:g} is above max_{name} {high:g}: nothing would be left")
        columns = [column for column, _ in self.minimums]
        if len(set(columns)) != len(columns):
            raise ConfigError(f"one least value a column, please; found {', '.join(columns)}")


def parse_minimum(text: str) -> tuple[str, float]:
    """Read "COLUMN=VALUE".

    Raises:
        ConfigError: it is something else.
    """
    column, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not column.strip() or not equals or math.isnan(number):
        raise ConfigError(f"{text!r} is not COLUMN=VALUE with a number, for example dnsmos=3.5")
    return column.strip(), number


def check_columns(minimums: Iterable[tuple[str, float]], columns: Iterable[str]) -> None:
    """Refuse a filter on a column that no row has: a typing mistake would drop everything.

    Raises:
        ConfigError: names the column and the nearest ones there are.
    """
    known = sorted(columns)
    for column, _ in minimums:
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
            raise ConfigError(f"no row has a column {column!r} to filter by; {hint}")


def why_drop(text: str, seconds: float, columns: Mapping[str, float | str], config: FilterConfig) -> str | None:
    """Return the first reason to drop an utterance, None to keep it.

    Args:
        text: normalised; empty if there is none.
        seconds: length of the audio.
        columns: further values of the row, by column.
        config: the limits.
    """
    if not text:
        return "no text"
    if not seconds >= config.min_seconds:
        return f"shorter than {config.min_seconds:g} s"
    if seconds > config.max_seconds:
        return f"longer than {config.max_seconds:g} s"
    if len(text) < config.min_chars:
        return f"fewer than {config.min_chars} characters"
    if config.max_chars is not None and len(text) > config.max_chars:
        return f"more than {config.max_chars} characters"
    # Multiplied out, so that audio of no length is no division by zero.
    if config.min_chars_per_second is not None and len(text) < config.min_chars_per_second * seconds:
        return f"fewer than {config.min_chars_per_second:g} characters a second"
    if config.max_chars_per_second is not None and len(text) > config.max_chars_per_second * seconds:
        return f"more than {config.max_chars_per_second:g} characters a second"
    return _why_drop_by_column(columns, config.minimums)


def why_drop_text(text: str, tokens: int, max_tokens: int) -> str | None:
    """Return the reason to drop a text without speech, None to keep it.

    Args:
        text: what is to be learnt.
        tokens: of it and of its instruction.
        max_tokens: most of them.
    """
    if not text:
        return "no text"
    return f"more than {max_tokens} text tokens" if tokens > max_tokens else None


def _why_drop_by_column(columns: Mapping[str, float | str], minimums: Iterable[tuple[str, float]]) -> str | None:
    for column, least in minimums:
        value = columns.get(column)
        try:
            number = math.nan if value is None else float(value)
        except ValueError:
            return f"{column} is not a number"
        if math.isnan(number):
            return f"no {column}"
        if number < least:
            return f"{column} below {least:g}"
    return None

"""How stages on the way audio -> score tell how far they are; silent in a pipe, bars on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

SECONDS_BETWEEN_LINES = 30.0


class Task(Protocol):
    """One bar: something that grows from 0 to a total."""

    def advance(self, amount: float, note: str | None = None) -> None:
        """Add ``amount``, in the task's unit; ``note`` replaces the text behind the bar."""

    def __enter__(self) -> Task:
        """Start showing."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""


class Progress(Protocol):
    """What a stage is handed to report to: bars and messages."""

    def task(self, label: str, total: float | None, unit: str = "") -> Task:
        """Open a bar; ``total`` is None if it is not known."""

    def message(self, text: str) -> None:
        """Say one line to the person who started the stage."""


class _SilentTask:
    def advance(self, amount: float, note: str | None = None) -> None:
        pass

    def __enter__(self) -> _SilentTask:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class SilentProgress:
    """Shows nothing: for libraries and tests."""

    def task(self, label: str, total: float | None, unit: str = "") -> Task:
        """Open a bar that is not shown."""
        return _SilentTask()

    def message(self, text: str) -> None:
        """Drop the line."""


class _LineTask(_SilentTask):
    """Says in one line every half minute how far it is: a batch job's log shows that it lives."""

    def __init__(self, label: str, total: float | None, unit: str, say: Callable[[str], None]) -> None:
        self._label, self._total, self._unit, self._say = label, total, unit, say
        self._done = 0.0
        self._note = ""
        self._said = time.monotonic()

    def advance(self, amount: float, note: str | None = None) -> None:
        self._done += amount
        self._note = self._note if note is None else note
        if time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            total = f" of {self._total:.0f}" if self._total else ""
            self._say(f"{self._label}: {self._done:.0f}{total} {self._unit} {self._note}".rstrip())


class StreamProgress(SilentProgress):
    """Messages to stderr, and a line now and then instead of bars: for pipes and log files."""

    def task(self, label: str, total: float | None, unit: str = "") -> Task:
        """Open a bar that is told in lines."""
        return _LineTask(label, total, unit, self.message)

    def message(self, text: str) -> None:
        """Write the line to stderr."""
        print(text, file=sys.stderr, flush=True)


class _RichTask:
    def __init__(self, bars: Any, label: str, total: float | None) -> None:
        self._bars = bars
        self._id = bars.add_task(label, total=total, note="")

    def advance(self, amount: float, note: str | None = None) -> None:
        fields = {} if note is None else {"note": note}
        self._bars.update(self._id, advance=amount, **fields)

    def __enter__(self) -> _RichTask:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class RichProgress:
    """Bars and messages on a terminal's stderr."""

    def __init__(self) -> None:
        """Find the terminal; nothing is drawn yet."""
        from rich.console import Console

        self._console = Console(stderr=True)

    def task(self, label: str, total: float | None, unit: str = "") -> Task:
        """Open a bar with percentage, elapsed and remaining time."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), Remaining())
        bars = Progress(*columns, TextColumn("{task.fields[note]}"), console=self._console, transient=False)
        return _RichTask(bars, label, total)

    def message(self, text: str) -> None:
        """Write the line above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def terminal_progress() -> Progress:
    """Bars if stderr is a terminal, plain messages otherwise."""
    return RichProgress() if sys.stderr.isatty() else StreamProgress()

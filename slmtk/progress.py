"""How stages on the way audio -> score tell how far they are; silent in a pipe, bars on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol


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


class StreamProgress(SilentProgress):
    """Messages to stderr and no bars: for pipes and log files."""

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

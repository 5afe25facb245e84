"""A comparison of scores on a terminal: as many columns side by side as it is wide, the others below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slmtk.cli._compare_formats import FACTS, interval, known_facts, notes, shown, told_fact

if TYPE_CHECKING:
    from rich.console import Console

    from slmtk.stages.compare import Comparison, Metric, Row

_NAME_WIDTH = 24
# Between columns: one blank of padding, and one that rich puts where other boxes have a line.
_GAP = 2


@dataclass(frozen=True)
class _Column:
    """A heading and a cell a row; a cell's second line is what is known about the first one's certainty."""

    heading: str
    cells: Sequence[tuple[str, str]]

    @property
    def width(self) -> int:
        """Of the cells and of the longest word of the heading."""
        return max(len(part) for part in (*(line for cell in self.cells for line in cell), *self.heading.split()))


def print_comparison(report: Comparison, console: Console) -> None:
    """Print the table, then what it says in words.

    Args:
        report: of `compare`.
        console: of rich; its width decides how many columns stand side by side.
    """
    from rich.text import Text

    names = [row.name for row in report.rows]
    columns = [_Column("n", [(f"{row.utterances:,}", "") for row in report.rows])]
    columns += [_metric(metric, report.rows) for metric in report.metrics]
    facts = [
        _Column(FACTS[name][0], [(told_fact(row, name), "") for row in report.rows]) for name in known_facts(report)
    ]
    width = min(_NAME_WIDTH, max(map(len, names)))
    for group in (columns, facts):
        for block in _blocks(group, console.width - width):
            console.print(_table(names, width, block), "", sep="\n")
    for line in notes(report):
        style = "bold" if line.startswith("NOT") else "dim" if line.startswith(("*", "inter", "scored")) else ""
        console.print(Text(line, style=style))


def _metric(metric: Metric, rows: Sequence[Row]) -> _Column:
    from slmtk.stages.compare import mark

    cells = []
    for row in rows:
        value = row.values.get(metric.key)
        if value is None:
            cells.append(("-", ""))
            continue
        # Numbers stay under each other: each keeps room for two stars.
        star = mark(row.against.get(metric.key))
        cells.append((f"{shown(metric, value.value)}{star:<2}", interval(metric, value)))
    return _Column(metric.label, cells)


def _blocks(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """Parts of ``columns`` that fit ``width`` side by side, one column at least."""
    block: list[_Column] = []
    for column in columns:
        if block and sum(one.width + _GAP for one in (*block, column)) > width:
            yield block
            block = []
        block.append(column)
    if block:
        yield block


def _table(names: Sequence[str], width: int, columns: Sequence[_Column]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0), collapse_padding=True
    )
    table.add_column("", style="cyan", overflow="fold", width=width)
    for column in columns:
        table.add_column(column.heading, justify="right", width=column.width, overflow="fold")
    for number, name in enumerate(names):
        cells = []
        for column in columns:
            first, second = column.cells[number]
            cell = Text(first)
            if second:
                cell.append(f"\n{second}", style="dim")
            cells.append(cell)
        table.add_row(Text(name), *cells)
    return table

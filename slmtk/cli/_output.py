"""How a command hands over its result: JSON in a pipe, tables on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from slmtk.config import to_jsonable


def print_report(report: Any, *, as_json: bool, title: str = "") -> None:
    """Write ``report`` (a dataclass or mapping) to stdout, as JSON unless stdout is a terminal."""
    values = to_jsonable(report)
    if as_json or not sys.stdout.isatty():
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    Console().print(report_table(values, title))


def report_table(values: Mapping[str, Any], title: str = "") -> Any:
    """Return a rich table: one row a key; rows that share their columns become one table with a header.

    Args:
        values: JSON-ready values.
        title: stands above the table.
    """
    records = _records(values)
    if records:
        table = _grid(title, ["", *records[0][1]])
        for name, row in records:
            table.add_row(name, *(_cell(value) for value in row.values()))
        return table
    from rich.table import Table

    table = Table(title=title or None, show_header=False, title_justify="left", title_style="bold", box=None)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(key.replace("_", " "), _cell(value))
    return table


def _grid(title: str, headers: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for position, header in enumerate(headers):
        table.add_column(header.replace("_", " "), style="cyan" if position == 0 else None, overflow="fold")
    return table


def _records(values: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, row) pairs if every value is a flat row with the same columns, few enough to stand side by side."""
    rows = list(values.items())
    if not rows or not all(isinstance(row, Mapping) and row for _, row in rows):
        return []
    columns = list(rows[0][1])
    # A row that holds rows, or more columns than a terminal has room for, reads better downwards.
    alike = all(list(row) == columns and not any(_nested(v) for v in row.values()) for _, row in rows)
    return rows if alike and len(columns) <= 8 and not _is_interval(values) else []


def _nested(value: Any) -> bool:
    return (isinstance(value, Mapping) and not _is_interval(value)) or _is_record_list(value)


def _is_interval(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"low", "high"}


def _is_record_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _cell(value: Any) -> Any:
    """Text or a table for one value."""
    if _is_interval(value):
        return f"{_text(value['low'])} .. {_text(value['high'])}"
    if isinstance(value, Mapping):
        return report_table(value) if value else "-"
    if _is_record_list(value):
        if all(list(item) == list(value[0]) for item in value):
            table = _grid("", list(value[0]))
            for item in value:
                table.add_row(*(_cell(entry) for entry in item.values()))
            return table
        return "\n".join(json.dumps(item, ensure_ascii=False) for item in value)
    if isinstance(value, list):
        texts = [_text(item) for item in value]
        line = ", ".join(texts)
        return (line if len(line) <= 60 else "\n".join(texts)) or "-"
    return _text(value)


def _text(value: Any) -> Any:
    """A scalar as people read it; rich's markup in it stays text."""
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(str(value))

"""How a command hands over its result: JSON in a pipe, a table on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
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

    Console().print(_table(values, title))


def _table(values: Mapping[str, Any], title: str) -> Any:
    from rich.table import Table

    table = Table(title=title or None, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            table.add_row(key, _table(value, ""))
        elif isinstance(value, float):
            table.add_row(key, f"{value:.4g}")
        elif isinstance(value, list):
            table.add_row(key, "\n".join(str(item) for item in value))
        elif value is not None:
            table.add_row(key, str(value))
    return table

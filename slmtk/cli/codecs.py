"""``slmtk codecs``: what can stand behind --codec."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from slmtk.cli._options import json_option
from slmtk.cli._output import print_report

if TYPE_CHECKING:
    from slmtk.stages.codecs import CodecRow


@click.command("codecs")
@json_option
def command(as_json: bool) -> None:
    """List the codecs: family, rates, codebooks, licence of the weights, and whether they can be used here."""
    from slmtk.stages.codecs import list_codecs

    rows = list_codecs()
    if as_json or not sys.stdout.isatty():
        failures = {name: {"error": row} for name, row in rows.items() if isinstance(row, str)}
        print_report({**rows, **failures}, as_json=True)
        return
    from rich.console import Console

    console = Console()
    for part in tables(rows):
        console.print(part)


def tables(rows: dict[str, CodecRow | str]) -> list[Any]:
    """What a terminal shows: a rich table of the codecs, then a line for each that cannot be used, then a legend."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for header, justify in (("codec", "left"), ("family", "left"), ("kHz", "right"), ("frames/s", "right"),
                            ("codebooks", "right"), ("bits/s", "right"), ("weights", "left"),
                            ("licence", "left")):  # fmt: skip
        table.add_column(header, justify=justify, style="cyan" if header == "codec" else None,  # type: ignore[arg-type]
                         no_wrap=header != "licence", overflow="fold")  # fmt: skip
    broken = []
    for name, row in rows.items():
        if isinstance(row, str):
            broken.append(f"[cyan]{escape(name)}[/cyan]: {escape(row)}")
            continue
        table.add_row(escape(name), *_cells(row))
    legend = "codebooks marked * : --codebooks N keeps the first N of them. More with --json."
    return [table, *broken, f"[dim]{legend}[/dim]"]


def _cells(row: CodecRow) -> list[str]:
    from rich.markup import escape

    from slmtk.stages.codecs import codebooks_text

    codebooks = codebooks_text(row.streams) + (" *" if row.variable_codebooks else "  ")
    state = row.weights if row.installed else f"needs {', '.join(row.missing)}"
    return [
        row.family,
        f"{row.sample_rate / 1000:g}",
        f"{row.frame_rate:.4g}",
        codebooks,
        f"{row.bits_per_second:,}",
        escape(state),
        escape(row.licence),
    ]

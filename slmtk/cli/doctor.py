"""``slmtk doctor``: what is installed, what is broken, and the command that mends it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from slmtk.cli._options import json_option
from slmtk.cli._output import print_report

if TYPE_CHECKING:
    from slmtk.stages.doctor import DoctorReport

MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[red]BROKEN[/]"}


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check the installation: versions, imports, devices, plug-ins, caches, disk.

    Every trouble comes with the command that mends it. Exit status 1 if something that slmtk needs is broken.
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.doctor import Surroundings, diagnose

    report = diagnose(Surroundings(), terminal_progress())
    if as_json or not sys.stdout.isatty():
        print_report(report, as_json=True)
    else:
        show(report)
    ctx.exit(0 if report.healthy else 1)


def show(report: DoctorReport) -> None:
    """Print one line a finding, by group, then the commands that mend what is not in order."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    group = ""
    for finding in report.findings:
        heading = "" if finding.group == group else finding.group
        group = finding.group
        table.add_row(heading, escape(finding.name), MARKS[finding.status], escape(finding.found))
    console.print(table)
    mends = dict.fromkeys((finding.status, finding.mend) for finding in report.findings if finding.mend)
    for status, title in (("broken", "To mend what is broken:"), ("note", "If you want what is noted:")):
        commands = [mend for kind, mend in mends if kind == status]
        if commands:
            console.print(f"\n[bold]{title}[/]")
            for line in commands:
                console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    console.print("\n[green]slmtk can work here.[/]" if report.healthy else "\n[red]slmtk cannot work here yet.[/]")

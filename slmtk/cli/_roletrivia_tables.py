"""Scores of spoken question answering as people read them: a row a system and split, then a row a role."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slmtk.cli._output import print_report

if TYPE_CHECKING:
    from rich.table import Table

    from slmtk.stages.roletrivia import RoleTriviaReport

# Header, key, and whether it is a share that is shown in per cent.
_MEASURES = (
    ("EM text", "em_text", True),
    ("F1 text", "f1_text", True),
    ("EM heard", "em_speech", True),
    ("F1 heard", "f1_speech", True),
    ("WER", "wer", True),
    ("SIM own", "similarity", False),
    ("SIM other", "similarity_other_roles", False),
)
_NUMBERS_WIDTH = 70
_NOTES = (
    "Per cent, but SIM (cosine); below each, the 95 % interval (bootstrap over questions). Text: what was written; "
    "heard: what {recognizer} made of the speech; WER between the two. SIM with a clip of the role, and with other "
    "roles' clips, by {encoder}."
)


def print_scores(report: RoleTriviaReport, *, as_json: bool) -> None:
    """Write ``report`` to stdout, as JSON unless stdout is a terminal."""
    if as_json or not sys.stdout.isatty():
        print_report(report, as_json=True)
        return
    from rich.console import Console

    console = Console()
    longest = max(len(name) for groups in report.systems.values() for name in (*groups["splits"], *report.roles))
    width = max(8, min(longest, console.width - _NUMBERS_WIDTH))
    for place, (name, groups) in enumerate(report.systems.items()):
        rows = {**groups["splits"], **({"all": groups["all"]} if len(groups["splits"]) > 1 else {})}
        console.print(_table(name, rows, width, header=place == 0))
    if len(report.roles) > 1:
        several = len(report.systems) > 1
        title = f"roles, {next(iter(report.systems))}" if several else "roles"
        console.print(_table(title, report.roles, width, header=False))
    failures = {name: groups["all"]["failures"] for name, groups in report.systems.items()}
    for name, reasons in failures.items():
        if reasons:
            told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            console.print(f"Not whole, {name}: {told}", highlight=False, markup=False)
    console.print(_NOTES.format(recognizer=report.recognizer, encoder=report.encoder), style="dim", highlight=False)
    console.print(f"{report.out}/scores.json, {report.out}/answers.jsonl", highlight=False, markup=False)


def _table(title: str, rows: Mapping[str, Mapping[str, Any]], width: int, *, header: bool) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        show_header=header,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    # Equal widths, so that one header serves the tables of all systems.
    table.add_column("", style="cyan", overflow="fold", width=width)
    for name, _, share in _MEASURES:
        table.add_column(name, justify="right", width=7 if share else 8)
    table.add_column("whole", justify="right", width=5)
    table.add_column("n", justify="right", width=5)
    for row, scores in rows.items():
        table.add_row(escape(row), *_cells(scores))
    return table


def _cells(scores: Mapping[str, Any]) -> list[str]:
    cells = [_cell(scores[key], share) for _, key, share in _MEASURES]
    return [*cells, f"{100 * scores['success_rate']:.0f}", str(scores["questions"])]


def _cell(score: Mapping[str, float] | None, share: bool) -> str:
    if score is None:
        return "-"
    if share:
        return f"{100 * score['value']:.1f}\n[dim]{100 * score['low']:.0f}–{100 * score['high']:.0f}[/dim]"
    low, high = (f"{score[name]:.2f}".replace("0.", ".") for name in ("low", "high"))
    return f"{score['value']:.2f}\n[dim]{low}–{high}[/dim]"

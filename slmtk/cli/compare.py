"""``slmtk compare``: scores -> one table of several systems."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slmtk.cli._options import config_option, json_option, seed_option

if TYPE_CHECKING:
    from slmtk.stages.compare import Comparison

_SUFFIXES = {".txt": "text", ".md": "markdown", ".csv": "csv", ".json": "json"}
_FILE_WIDTH = 120


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--baseline", help="Row or RUN that the others are tested against.  [default: the first]")
@click.option(
    "--name",
    "names",
    multiple=True,
    help="What to call a RUN (repeatable: one for each, in their order).  [default: the folders' names]",
)
@click.option("--split", help="RoleTriviaQA: which split.  [default: all questions]")
@click.option("--force", is_flag=True, help="Compare scores that were made by different protocols or recognisers.")
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(_SUFFIXES.values())),
    help="[default: by the suffix of --save; else text on a terminal, JSON in a pipe]",
)
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), help="File to write instead of stdout: .txt, .md, ..."
)
@click.option("--bootstrap-samples", default=1000, show_default=True, help="Draws for the p-values.")
@seed_option
@json_option
@config_option
def command(runs: tuple[Path, ...], form: str | None, save: Path | None, as_json: bool, **options: Any) -> None:
    """Put the scores in RUNS under each other, and say which differ significantly from a baseline.

    A RUN is a folder that `slmtk eval-wer` or `slmtk roletrivia-bench` wrote. Rows keep the order of the RUNS; a
    benchmark's baselines get rows of their own. Beside the scores, with 95 % intervals, stand bit rate, speed and sizes
    where the scores lead to them.

    \b
    slmtk compare scores/a scores/b scores/c
    slmtk compare scores/* --baseline scores/recordings --save table.md
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.compare import CompareConfig, compare

    form = _form(form, save, as_json)
    report = compare(runs, CompareConfig(**options), terminal_progress())
    if save is not None:
        from slmtk.config import write_text

        write_text(save, _text(report, form))
        click.echo(f"written to {save}", err=True)
    elif form == "text" and sys.stdout.isatty():
        from rich.console import Console

        from slmtk.cli._compare_tables import print_comparison

        print_comparison(report, Console())
    else:
        click.echo(_text(report, form), nl=False)


def _form(form: str | None, save: Path | None, as_json: bool) -> str:
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other; give one of them")
    if form or as_json:
        return form or "json"
    if save is not None:
        if save.suffix not in _SUFFIXES:
            raise click.UsageError(f"--save {save}: no format has this suffix; use {', '.join(_SUFFIXES)}, or --format")
        return _SUFFIXES[save.suffix]
    return "text" if sys.stdout.isatty() else "json"


def _text(report: Comparison, form: str) -> str:
    from slmtk.cli import _compare_formats as formats

    if form == "text":
        from rich.console import Console

        from slmtk.cli._compare_tables import print_comparison

        stream = io.StringIO()
        print_comparison(report, Console(file=stream, width=_FILE_WIDTH))
        return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())
    return {"markdown": formats.markdown, "csv": formats.csv_text, "json": formats.json_text}[form](report)

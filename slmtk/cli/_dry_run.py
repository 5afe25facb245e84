"""``--dry-run``: check all that needs no download, weights or audio, say what would be done, and write nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    # Before the others, since `MadeBefore` looks at it.
    is_eager=True,
    help="Check the arguments offline, say what would be done and write nothing.",
)


class MadeBefore(click.Path):
    """An input that must be there, but in a dry run: a command that was only tried may have been to make it."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        """``file_okay``, ``dir_okay``: what it may be; the value is a `Path`."""
        super().__init__(exists=True, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; without ``--dry-run`` a missing one is wrong usage."""
        if ctx is not None and ctx.params.get("dry_run") and not Path(value).exists():
            return Path(value)
        return super().convert(value, param, ctx)

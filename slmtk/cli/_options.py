"""Options that several commands share, each spelled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from slmtk.config import read_toml

F = TypeVar("F", bound=Callable[..., Any])


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    known = [p.name for p in ctx.command.params if isinstance(p, click.Option) and p.name not in (None, "config")]
    values = read_toml(path, [name for name in known if name])
    ctx.default_map = {**values, **(ctx.default_map or {})}


config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file with any of these options; the command line wins.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, or auto: a GPU if there is one."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on a terminal too.")
seed_option = click.option("--seed", default=0, show_default=True, help="Seed of everything random.")
checkpoint_option = click.option(
    "--codec-checkpoint",
    type=click.Path(exists=True, path_type=Path),
    help="Local file or folder with the codec's weights, instead of the published ones.",
)

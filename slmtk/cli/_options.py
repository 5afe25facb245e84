"""Options that several commands share, each spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.config import read_toml
from slmtk.errors import ConfigError

NORMALIZERS = (
    "whisper-english",
    "whisper-basic",
    "basic",
    "none",
    "seed-tts",
    "seed-tts-zh",
    "f5",
    "nemo-english",
)
"""Names of `slmtk.metrics.normalize`, written down here since help must not wait for its imports."""


class _WrongConfig(click.ClickException):
    """A --config file that cannot be used: wrong usage, told in one line."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Write the line to stderr, or to ``file``."""
        click.echo(f"slmtk: {self.format_message()}", err=True, file=file)


def settings_of(command: click.Command) -> dict[str, str]:
    """Keys that --config takes for ``command`` (its long options, "_" for "-") and the parameter each one sets."""
    found = {}
    for option in command.params:
        if not isinstance(option, click.Option) or option.name in (None, "config", "help"):
            continue
        for spelling in option.opts:
            if spelling.startswith("--"):
                found[spelling[2:].replace("-", "_")] = str(option.name)
    return found


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    parameters = settings_of(ctx.command)
    try:
        values = read_toml(path, parameters)
    except ConfigError as error:
        raise _WrongConfig(str(error)) from error
    settings = {parameters[key]: value for key, value in values.items()}
    ctx.default_map = {**settings, **(ctx.default_map or {})}


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
engine_option = click.option(
    "--engine",
    type=click.Choice(("local", "ray")),
    default="local",
    show_default=True,
    help="This machine, or an existing Ray cluster.",
)
ray_address_option = click.option(
    "--ray-address", default="auto", show_default=True, help="Of the cluster; auto: the one this machine belongs to."
)
num_shards_option = click.option(
    "--num-shards", type=click.IntRange(min=1), help="How many shards (runs with the same OUT) there are."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Delete what an earlier run has left in OUT.")
checkpoint_option = click.option(
    "--codec-checkpoint",
    type=click.Path(exists=True, path_type=Path),
    help="Local file or folder with the codec's weights, instead of the published ones.",
)

"""``slmtk codecs``: what can stand behind --codec."""

from __future__ import annotations

import click

from slmtk.cli._options import json_option
from slmtk.cli._output import print_report


@click.command("codecs")
@json_option
def command(as_json: bool) -> None:
    """List the codecs that are installed, with family, rates and streams."""
    from slmtk import plugins
    from slmtk.codecs.base import load_codec
    from slmtk.errors import SlmtkError

    rows: dict[str, object] = {}
    for name in plugins.available("slmtk.codecs"):
        try:
            spec = load_codec(name).spec
        except SlmtkError as error:
            rows[name] = f"not usable here: {error}"
            continue
        rows[name] = {**spec.to_dict(), "bits_per_second": round(spec.bits_per_second)}
    print_report(rows, as_json=as_json)

"""``slmtk inspect``: what a folder of codes holds, and what it sounds like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report
from slmtk.config import to_jsonable
from slmtk.progress import terminal_progress

_BAR = 40  # characters of the longest bar


@click.command("inspect")
@click.argument("codes", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--resynth", metavar="OUT", type=click.Path(file_okay=False, path_type=Path), help="Write audio to OUT.")
@click.option("-n", "--count", default=20, show_default=True, help="Utterances to write, drawn by --seed; 0: all.")
@click.option("--voice-of", "speaker", metavar="ID", help="Decode all in the voice of utterance ID.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes on the CPU.  [default: one for each core]")
@seed_option
@device_option
@checkpoint_option
@json_option
@config_option
@click.pass_context
def command(ctx: click.Context, /, codes: Path, as_json: bool, **options: Any) -> None:
    """Show what CODES holds: codec, hours, speakers, use of each codebook, durations; and whether it is sound."""
    from slmtk.stages import inspect as stage

    report = stage.inspect(codes, stage.InspectConfig(**options), terminal_progress())
    values = to_jsonable(report)
    if sys.stdout.isatty() and not as_json:
        values = _for_reading(values)
    print_report(values, as_json=as_json, title=f"Codes in {codes}")
    ctx.exit(1 if report.problems else 0)


def _for_reading(values: dict[str, Any]) -> dict[str, Any]:
    codec = values["codec"]
    streams = {
        f"{use['name']} ({use['kind']})": f"{use['used']} of {use['size']} codes, {use['entropy_bits']:.2f} of "
        f"{use['max_bits']:g} bits, commonest {use['top_code']} ({use['top_share']:.0%}), "
        f"stuck in {use['stuck_utterances']:,} utterances, constant in {use['constant_utterances']:,}: {use['verdict']}"
        for use in values["streams"]
    }
    described = f"{codec['name']}: {codec['sample_rate']} Hz, {codec['frame_rate']:g} frames/s, {codec['family']}, "
    described += f"speaker vector {codec['speaker_dim']}" if codec["speaker_dim"] else "no speaker vector"
    return {**values, "codec": described, "streams": streams, "durations": _bars(values["durations"])}


def _bars(durations: list[dict[str, Any]]) -> dict[str, str]:
    most = max((row["utterances"] for row in durations), default=1)
    return {
        f"{row['from_seconds']:g}-{row['to_seconds']:g} s": f"{'█' * round(_BAR * row['utterances'] / most)} "
        f"{row['utterances']}"
        for row in durations
    }

"""``slmtk convert``: recordings in, the same speech in another voice out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option
from slmtk.cli._output import print_report
from slmtk.corpus.base import LAYOUTS


@click.command("convert")
@click.argument("source")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path), default=Path("converted"))
@click.option(
    "--speaker",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recording of the voice to speak in.",
)
@click.option("--codec", default="world", show_default=True, help="Codec name, of those with a speaker vector.")
@click.option("--similarity", is_flag=True, help="Measure each recording's likeness to the voice, before and after.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes on the CPU.  [default: one for each core]")
@click.option("--layout", type=click.Choice(LAYOUTS), default="auto", show_default=True, help="How SOURCE is laid out.")
@checkpoint_option
@device_option
@json_option
@config_option
@click.pass_context
def command(ctx: click.Context, /, source: str, out: Path, layout: str, as_json: bool, **options: Any) -> None:
    """Speak the recordings of SOURCE again in another voice and write OUT: wav files, a line each, a report.

    SOURCE is a sound file, or whatever `slmtk tokenize` takes. It needs a codec that takes the speaker out of the
    codes. OUT can be scored: `slmtk eval-wer SOURCE OUT`.
    """
    from slmtk.corpus import CorpusConfig
    from slmtk.progress import terminal_progress
    from slmtk.stages.convert import ConvertConfig, convert

    config = ConvertConfig(**options, corpus=CorpusConfig(layout=layout))
    report = convert(source, out, config, terminal_progress())
    print_report(report, as_json=as_json, title=f"Speech in the voice of {config.speaker}")
    ctx.exit(3 if report.failed else 0)

"""``slmtk synth``: text in, speech in a reference's voice out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report
from slmtk.cli._sampling import pop_sampling, sampling_options


@click.command("synth")
@click.argument("text")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path), default=Path("speech"))
@click.option(
    "--model",
    required=True,
    type=MadeBefore(file_okay=False),
    help="Folder that `slmtk train` wrote.",
)
@click.option(
    "--speaker",
    "speakers",
    multiple=True,
    type=MadeBefore(dir_okay=False),
    help="Recording of the voice to speak in; given several times, the lines take turns.",
)
@sampling_options
@checkpoint_option
@dry_run_option
@seed_option
@device_option
@config_option
@json_option
def command(text: str, out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Speak TEXT (words, or a .txt/.jsonl/.tsv file of texts) and write OUT: wav files, codes and a report.

    A file's lines may carry an id and a reference voice of their own (fields id, text, reference).
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.synth import SynthConfig, plan, synth

    config = SynthConfig(sampling=pop_sampling(options), **options)
    if dry_run:
        print_report(plan(text, out, config), as_json=as_json, title="synth, dry run")
        return
    report = synth(text, out, config, terminal_progress())
    print_report(report, as_json=as_json, title="synth")

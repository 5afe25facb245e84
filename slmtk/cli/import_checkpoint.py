"""``slmtk import-checkpoint``: a model that the paper's scripts trained becomes one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.cli._options import checkpoint_option, config_option, json_option
from slmtk.cli._output import print_report


@click.command("import-checkpoint")
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--codec", default="facodec", show_default=True, help="Codec whose codes the model was trained on.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "grouped", "interleaved"]),
    default="auto",
    show_default=True,
    help="grouped: it has speech heads; interleaved: it has none; auto: as found.",
)
@click.option(
    "--tokenizer",
    help="The backbone's tokenizer (bytes, a hub id or a folder), if SOURCE has none.  [default: its own]",
)
@click.option("--base", help="Folder or hub id with the backbone's config.json.  [default: that of SOURCE]")
@click.option(
    "--task",
    "tasks",
    type=click.Choice(["tts", "asr", "text", "qa", "sqa", "qa-speech", "sqa-speech"]),
    multiple=True,
    default=("tts",),
    show_default=True,
    help="What the model was trained on (repeatable).",
)
@checkpoint_option
@config_option
@json_option
def command(source: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Turn SOURCE, a checkpoint of the released scripts of arXiv 2506.12537, into the model folder OUT.

    SOURCE holds config.json, weights (safetensors, or a .bin that is read without running code) and tokenizer files,
    as transformers saves them: next-token prediction, or any number of linear speech heads, speaker-aware or not.
    `slmtk synth` then speaks with OUT.
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.import_checkpoint import ImportConfig, import_checkpoint

    report = import_checkpoint(source, out, ImportConfig(**options), terminal_progress())
    print_report(report, as_json=as_json, title="import-checkpoint")

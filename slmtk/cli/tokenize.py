"""``slmtk tokenize``: audio -> codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option
from slmtk.cli._output import print_report
from slmtk.corpus.base import LAYOUTS
from slmtk.progress import terminal_progress


@click.command("tokenize")
@click.argument("source")
@click.argument("out", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--codec", required=True, help="Codec name; `slmtk codecs` lists them. Or module:Class.")
@click.option(
    "--codebooks", type=click.IntRange(min=1), help="Keep only the codec's first so many streams.  [default: all]"
)
@device_option
@click.option("--workers", type=click.IntRange(min=1), help="Processes on the CPU.  [default: one for each core]")
@click.option("--shard-hours", default=4.0, show_default=True, help="Audio in a Parquet part.")
@click.option(
    "--verify-batch", is_flag=True, help="Write nothing: measure how much codes depend on what they are batched with."
)
@click.option(
    "--verify-utterances",
    type=click.IntRange(min=2),
    default=32,
    show_default=True,
    help="How many utterances --verify-batch takes.",
)
@click.option("--overwrite", is_flag=True, help="Delete what an earlier run has left in OUT.")
@click.option("--layout", type=click.Choice(LAYOUTS), default="auto", show_default=True, help="How SOURCE is laid out.")
@click.option("--id-column", help="Manifest or dataset: column of ids.  [default: found by name]")
@click.option("--audio-column", help="Column of paths or audio.  [default: found by name]")
@click.option("--text-column", help="Column of texts.  [default: found by name]")
@click.option("--speaker-column", help="Column of speakers.  [default: found by name]")
@click.option("--language-column", help="Column of languages.  [default: found by name]")
@click.option("--keep-column", "keep_columns", multiple=True, help="Also keep this column of text (repeatable).")
@click.option("--split", help="Hugging Face dataset: which split.")
@click.option("--subset", help="Hugging Face dataset: which configuration.")
@click.option("--language", help="Language of utterances whose language SOURCE does not state.")
@checkpoint_option
@json_option
@config_option
@click.pass_context
def command(ctx: click.Context, /, source: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Encode the audio of SOURCE into codes shards in OUT; run it again to resume.

    SOURCE is a folder (LibriSpeech, LibriTTS, VCTK, LJSpeech, or any sounds with or without .txt/.lab), a csv/tsv/jsonl
    manifest, Parquet files, or the id of a Hugging Face dataset. OUT is "<codec>-codes/<name of SOURCE>" if not given,
    "<codec>-<N>-codes/..." with --codebooks N.
    """
    from slmtk.corpus import CorpusConfig
    from slmtk.stages import tokenize as stage
    from slmtk.stages.tokenize_verify import verify_batch

    verify, utterances = options.pop("verify_batch"), options.pop("verify_utterances")
    own = {key: options.pop(key) for key in ("codec", "codebooks", "device", "workers", "shard_hours", "overwrite")}
    checkpoint = options.pop("codec_checkpoint")
    config = stage.TokenizeConfig(**own, codec_checkpoint=checkpoint, corpus=CorpusConfig(**options))
    progress = terminal_progress()
    if verify:
        check = verify_batch(source, config, progress, utterances=utterances)
        print_report(check, as_json=as_json, title=f"Codes alone and in batches: {config.codec} on {check.device}")
        return
    out = out or stage.default_out(source, config.codec, config.codebooks)
    progress.message(f"writing to {out}")
    report = stage.tokenize(source, out, config, progress)
    print_report(report, as_json=as_json, title=f"Codes in {report.out}")
    ctx.exit(3 if report.failed else 0)

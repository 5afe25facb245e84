"""``slmtk tokenize``: audio -> codes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import dry_run_option
from slmtk.cli._options import (
    checkpoint_option,
    config_option,
    device_option,
    engine_option,
    json_option,
    num_shards_option,
    overwrite_option,
    ray_address_option,
)
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
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes on the CPU, or actors of a Ray cluster.  [default: one for each core; Ray: each GPU, or core]",
)
@click.option("--shard-hours", default=4.0, show_default=True, help="Audio in a Parquet part.")
@click.option(
    "--max-seconds",
    type=float,
    help="Split longer recordings at silences; pieces have no text.  [default: keep whole]",
)
@click.option(
    "--batch-seconds",
    type=click.FloatRange(min=0),
    help="Audio to encode at once, of utterances of equal length; 0: each alone.  [default: 0 on the CPU, else 120]",
)
@click.option(
    "--min-dnsmos",
    type=click.FloatRange(1, 5),
    help="Leave out what has a lower DNSMOS, as SOURCE states it or else measured.  [default: keep all]",
)
@click.option("--shard-id", type=click.IntRange(min=0), help="Make only the parts of this shard, 0 .. N-1.")
@num_shards_option
@engine_option
@ray_address_option
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
@overwrite_option
@click.option("--layout", type=click.Choice(LAYOUTS), default="auto", show_default=True, help="How SOURCE is laid out.")
@click.option("--id-column", help="Manifest or dataset: column of ids.  [default: found by name]")
@click.option("--audio-column", help="Column of paths or audio.  [default: found by name]")
@click.option("--text-column", help="Column of texts.  [default: found by name]")
@click.option("--speaker-column", help="Column of speakers.  [default: found by name]")
@click.option("--language-column", help="Column of languages.  [default: found by name]")
@click.option("--keep-column", "keep_columns", multiple=True, help="Also keep this column of text (repeatable).")
@click.option("--split", help="Hugging Face dataset: which split. Common Voice: which table.  [default: validated]")
@click.option("--subset", help="Hugging Face dataset: which configuration.")
@click.option("--streaming", is_flag=True, help="Read Parquet, also of the hub, in place instead of fetching it first.")
@click.option("--language", help="Language of utterances whose language SOURCE does not state.")
@click.option("--push-to-hub", metavar="OWNER/NAME", help="Upload the codes as this dataset of the hub, when done.")
@click.option("--private", is_flag=True, help="With --push-to-hub: only you can see a dataset that is made.")
@click.option("--license", "licence", help="With --push-to-hub: licence of the codes, for example cc-by-4.0.")
@checkpoint_option
@dry_run_option
@json_option
@config_option
@click.pass_context
def command(ctx: click.Context, /, source: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Encode the audio of SOURCE into codes shards in OUT; run it again to resume.

    SOURCE is a folder (LibriSpeech, LibriTTS, VCTK, LJSpeech, Common Voice, or any sounds with or without .txt/.lab),
    tar shards (Emilia, WebDataset), a csv/tsv/jsonl manifest, Parquet files, or the id of a Hugging Face dataset. OUT
    is "<codec>-codes/<name of SOURCE>" if not given, "<codec>-<N>-codes/..." with --codebooks N.
    """
    from slmtk.corpus import CorpusConfig
    from slmtk.stages import tokenize as stage
    from slmtk.stages.push import check_push, push_codes
    from slmtk.stages.tokenize.verify import verify_batch

    dry_run = options.pop("dry_run")
    repo, private, licence = (options.pop(name) for name in ("push_to_hub", "private", "licence"))
    verify, utterances = options.pop("verify_batch"), options.pop("verify_utterances")
    names = {field.name for field in dataclasses.fields(stage.TokenizeConfig)} & options.keys()
    own = {key: options.pop(key) for key in names}
    config = stage.TokenizeConfig(**own, corpus=CorpusConfig(**options))
    progress = terminal_progress()
    if dry_run:
        where = out or stage.default_out(source, config.codec, config.codebooks)
        print_report(stage.plan(source, where, config, push=repo), as_json=as_json, title="tokenize, dry run")
        return
    if verify:
        check = verify_batch(source, config, progress, utterances=utterances)
        print_report(check, as_json=as_json, title=f"Codes alone and in batches: {config.codec} on {check.device}")
        return
    if repo:
        check_push(repo)
    out = out or stage.default_out(source, config.codec, config.codebooks)
    progress.message(f"writing to {out}")
    report = stage.tokenize(source, out, config, progress)
    print_report(report, as_json=as_json, title=f"Codes in {report.out}")
    if repo and report.finished:
        progress.message(f"pushed to {push_codes(out, repo, private=private, licence=licence)}")
    ctx.exit(3 if report.failed else 0)

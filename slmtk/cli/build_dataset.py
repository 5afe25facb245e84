"""``slmtk build-dataset``: from codes and text to what is trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report


@click.command("build-dataset")
@click.argument("codes", nargs=-1, required=True, type=MadeBefore(file_okay=False), metavar="CODES...")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--tokenizer",
    default="bytes",
    show_default=True,
    help="Text tokenizer: bytes, bpe:N (N tokens made from these texts), phonemes[:LANGUAGE] (to speak only), a hub id "
    "or a folder.",
)
@click.option(
    "--task",
    "tasks",
    type=click.Choice(("tts", "asr")),
    multiple=True,
    default=("tts",),
    show_default=True,
    help="What each utterance teaches: to read its text, or to write it down (repeatable).",
)
@click.option(
    "--questions",
    type=MadeBefore(dir_okay=False),
    help='Lines {"id": utterance, "question": text}: those utterances become spoken answers.',
)
@click.option(
    "--spoken-questions",
    type=MadeBefore(file_okay=False),
    multiple=True,
    metavar="CODES",
    help="Codes of the questions asked aloud, under the question_id of --questions or the answer's id (repeatable).",
)
@click.option(
    "--answer-task",
    "answer_tasks",
    type=click.Choice(("qa", "sqa", "qa-speech", "sqa-speech")),
    multiple=True,
    help="What each answer teaches: to answer a written (qa) or spoken (sqa) question, first in writing or in speech "
    "alone (repeatable).  [default: qa, with --spoken-questions also sqa]",
)
@click.option(
    "--text",
    "texts",
    type=MadeBefore(dir_okay=False),
    multiple=True,
    help="Texts without speech: .jsonl or .parquet with instruction and response, or text; .txt (repeatable).",
)
@click.option("--max-text-tokens", default=2048, show_default=True, help="Drop longer texts of --text.")
@click.option(
    "--speaker-encoder",
    default="codec",
    show_default=True,
    help="Whose speaker vectors: codec, resemblyzer, wavlm, wavlm:MODEL (a folder or hub id) or another plug-in.",
)
@click.option(
    "--audio",
    multiple=True,
    metavar="SOURCE",
    help="The recordings of CODES, for a --speaker-encoder: one for all, or one for each of CODES in their order.",
)
@click.option("--min-seconds", default=0.3, show_default=True, help="Drop shorter audio.")
@click.option("--max-seconds", default=30.0, show_default=True, help="Drop longer audio.")
@click.option("--min-chars", default=1, show_default=True, help="Drop shorter texts.")
@click.option("--max-chars", type=int, help="Drop longer texts.  [default: no limit]")
@click.option("--min-chars-per-second", type=float, help="Drop slower speech.  [default: no limit]")
@click.option("--max-chars-per-second", type=float, help="Drop faster speech.  [default: no limit]")
@click.option(
    "--min",
    "minimums",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Drop rows whose column, for example dnsmos, is below VALUE; may be given again for another column.",
)
@click.option(
    "--split-by",
    type=click.Choice(["utterance", "speaker", "text"]),
    default="utterance",
    show_default=True,
    help="What is never divided between splits; text: one sentence in several voices.",
)
@click.option("--dev-fraction", default=0.05, show_default=True, help="Share kept for measuring while training.")
@click.option("--test-fraction", default=0.0, show_default=True, help="Share kept for measuring at the end.")
@click.option("--overwrite", is_flag=True, help="Replace another dataset that OUT holds.")
@dry_run_option
@device_option
@seed_option
@config_option
@json_option
def command(codes: tuple[Path, ...], out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Turn folders of CODES (of one codec) and their texts into the dataset OUT, to train on.

    Texts are stripped, lower-cased and begin with a capital letter; those of --text stay as they are. Rows without text
    are left out; OUT/dropped.jsonl names every row that was left out, and why. The same codes and options give the same
    bytes.
    """
    from slmtk.data.filters import FilterConfig, parse_minimum
    from slmtk.data.splits import SplitConfig
    from slmtk.progress import terminal_progress
    from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset
    from slmtk.stages.build_dataset.plan import plan

    minimums = tuple(parse_minimum(text) for text in options.pop("minimums"))
    limits = {key: options.pop(key) for key in _names(FilterConfig) & options.keys()}
    split = {key: options.pop(key) for key in ("dev_fraction", "test_fraction", "seed")}
    config = BuildDatasetConfig(
        split=SplitConfig(by=options.pop("split_by"), **split),
        filters=FilterConfig(minimums=minimums, **limits),
        **options,
    )
    if dry_run:
        print_report(plan(codes, out, config), as_json=as_json, title="build-dataset, dry run")
        return
    print_report(build_dataset(codes, out, config, terminal_progress()), as_json=as_json, title="build-dataset")


def _names(settings: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(settings)}

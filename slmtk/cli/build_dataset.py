"""``slmtk build-dataset``: from codes and text to what is trained on."""

from __future__ import annotations

from pathlib import Path

import click

from slmtk.cli._options import config_option, json_option, seed_option
from slmtk.cli._output import print_report


@click.command("build-dataset")
@click.argument(
    "codes", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="CODES..."
)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--tokenizer",
    default="bytes",
    show_default=True,
    help="Text tokenizer: bytes, bpe:N (N tokens made from these texts), a hub id or a folder.",
)
@click.option(
    "--questions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Lines {"id": utterance, "question": text}: those utterances become spoken answers.',
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
@seed_option
@config_option
@json_option
def command(
    codes: tuple[Path, ...],
    out: Path,
    tokenizer: str,
    questions: Path | None,
    min_seconds: float,
    max_seconds: float,
    min_chars: int,
    max_chars: int | None,
    min_chars_per_second: float | None,
    max_chars_per_second: float | None,
    minimums: tuple[str, ...],
    split_by: str,
    dev_fraction: float,
    test_fraction: float,
    overwrite: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Turn folders of CODES (of one codec) and their texts into the dataset OUT, to train on.

    Texts are stripped, lower-cased and begin with a capital letter. Rows without text are left out; OUT/dropped.jsonl
    names every row that was left out, and why. The same codes and options give the same bytes.
    """
    from slmtk.data.filters import FilterConfig, parse_minimum
    from slmtk.data.splits import SplitConfig
    from slmtk.progress import terminal_progress
    from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset

    config = BuildDatasetConfig(
        tokenizer=tokenizer,
        questions=questions,
        filters=FilterConfig(
            min_seconds=min_seconds,
            max_seconds=max_seconds,
            min_chars=min_chars,
            max_chars=max_chars,
            min_chars_per_second=min_chars_per_second,
            max_chars_per_second=max_chars_per_second,
            minimums=tuple(parse_minimum(text) for text in minimums),
        ),
        split=SplitConfig(by=split_by, dev_fraction=dev_fraction, test_fraction=test_fraction, seed=seed),
        overwrite=overwrite,
    )
    print_report(build_dataset(codes, out, config, terminal_progress()), as_json=as_json, title="build-dataset")

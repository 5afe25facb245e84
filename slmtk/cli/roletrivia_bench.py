"""``slmtk roletrivia-bench``: questions in, scores of the spoken answers out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report
from slmtk.cli._sampling import pop_sampling, sampling_options

_COLUMNS = ("question", "answers", "reference", "role", "split", "id")


def _column_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(_COLUMNS):
        option = click.option(f"--{name}-column", default=name, show_default=True, help=f"Column with the {name}.")
        function = option(function)
    return function


@click.command("roletrivia-bench")
@click.argument("questions", type=MadeBefore(dir_okay=False))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--model",
    required=True,
    type=MadeBefore(file_okay=False),
    help="Folder that `slmtk train` wrote, of a model trained with --questions.",
)
@click.option("--recognizer", default="pocketsphinx", show_default=True, help="Recogniser that hears the answers.")
@click.option("--recognizer-model", help="The recogniser's weights: a local folder or hub id.")
@click.option(
    "--grammar",
    type=MadeBefore(dir_okay=False),
    help="JSGF file of all that can be heard; default: the recogniser's general language model.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Ask the first so many questions of each split only.")
@sampling_options
@_column_options
@checkpoint_option
@dry_run_option
@seed_option
@device_option
@config_option
@json_option
def command(questions: Path, out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Ask a model the QUESTIONS (a jsonl file), let it answer aloud in each role's voice, and score that in OUT.

    A line of QUESTIONS: {"question": ..., "answers": [...], "reference": recording of the role's voice}, and
    perhaps id, role and split. `slmtk make-corpus` writes a sample, roletrivia.jsonl; docs/roletrivia.md explains
    the file and the scores. An interrupted run goes on when it is started again.
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.roletrivia import plan, roletrivia

    config = _config(options)
    if dry_run:
        print_report(plan(questions, out, config), as_json=as_json, title="roletrivia-bench, dry run")
        return
    report = roletrivia(questions, out, config, terminal_progress())
    print_report(report, as_json=as_json, title="roletrivia-bench")


def _config(options: dict[str, Any]) -> Any:
    from slmtk.stages.roletrivia import RoleTriviaConfig
    from slmtk.stages.trivia import Columns

    columns = Columns(**{name: options.pop(f"{name}_column") for name in _COLUMNS})
    return RoleTriviaConfig(sampling=pop_sampling(options), columns=columns, **options)

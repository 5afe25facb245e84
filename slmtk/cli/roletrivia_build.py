"""``slmtk roletrivia-build``: trivia questions and a folder of voices in, a benchmark of spoken answers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report
from slmtk.cli._sampling import pop_sampling, sampling_options

_COLUMNS = ("question", "answers", "aliases")


@click.command("roletrivia-build")
@click.argument("trivia", type=MadeBefore())
@click.argument("roles", type=MadeBefore(file_okay=False))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--ood-share", default=0.1, show_default=True, help="Share of the questions that are kept back from training."
)
@click.option(
    "--unseen-roles",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="So many roles answer only questions that are kept back.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Take the first so many questions.")
@click.option(
    "--answers-by", type=MadeBefore(file_okay=False), help="Folder of a model that speaks the answers to train on."
)
@click.option(
    "--questions-spoken-by", type=MadeBefore(file_okay=False), help="Folder of a model that speaks the questions."
)
@click.option("--question-column", help="Column with the question.  [default: found by name]")
@click.option("--answers-column", help="Column with the answers.  [default: found by name]")
@click.option("--aliases-column", help="Column with more that is right.  [default: found by name]")
@click.option("--batch-size", default=8, show_default=True, help="Texts spoken at once.")
@sampling_options
@dry_run_option
@seed_option
@device_option
@config_option
@json_option
def command(trivia: Path, roles: Path, out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Make a benchmark in OUT of TRIVIA, a file of questions and answers, and ROLES, a folder of voices.

    TRIVIA is TriviaQA's json, or jsonl or Parquet with a question and answers a row. ROLES holds a recording a role,
    named after it, or a folder of recordings. Questions take turns through the roles; a seeded share is kept back
    ("ood"), the others ("id") are for training: OUT/training.jsonl is what `slmtk synth` speaks (--answers-by does it
    at once, into OUT/answers) and `slmtk build-dataset --questions` reads. OUT/questions.jsonl is for
    `slmtk roletrivia-bench`.
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.roletrivia.build import BuildConfig, build, plan
    from slmtk.stages.roletrivia.columns import Columns

    columns = Columns(**{name: options.pop(f"{name}_column") for name in _COLUMNS})
    config = BuildConfig(sampling=pop_sampling(options), columns=columns, **options)
    if dry_run:
        print_report(plan(trivia, roles, out, config), as_json=as_json, title="roletrivia-build, dry run")
        return
    report = build(trivia, roles, out, config, terminal_progress())
    print_report(report, as_json=as_json, title="roletrivia-build")

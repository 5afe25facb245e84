"""``slmtk roletrivia-bench``: questions in, scores of the spoken answers out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slmtk.cli import roletrivia_build
from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report
from slmtk.cli._sampling import pop_sampling, sampling_options

_COLUMNS = {
    "question": "Column with the question.",
    "answers": "Column with all that is right: a list, a text, or TriviaQA's object.",
    "aliases": "Column with more that is right.",
    "reference": "Column with a recording of the role's voice.",
    "speech": "Column with the recorded answer; without a reference, another answer of the role serves as one.",
    "question-audio": "Column with the recorded question.",
    "role": "Column with the role.",
    "split": "Column with the part that is scored by itself.",
    "id": "Column with the answer's id; '' numbers the rows.",
}


class _Questions(MadeBefore):
    """A file or folder, or the id of a dataset of the hub."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an id as text, anything else as a path; one that is missing is wrong usage."""
        return str(value) if _is_hub_id(value) else super().convert(value, param, ctx)


class _BenchCommand(click.Command):
    """The command, which also answers to ``roletrivia-bench build ...``."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] == ["build"]:
            return roletrivia_build.command.make_context(f"{info_name} build", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _is_hub_id(value: Any) -> bool:
    from slmtk.stages.roletrivia.tables import looks_like_hub_id

    return looks_like_hub_id(value)


def _column_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, help_text in reversed(_COLUMNS.items()):
        function = click.option(f"--{name}-column", help=f"{help_text}  [default: found by name]")(function)
    return function


@click.command("roletrivia-bench", cls=_BenchCommand)
@click.argument("questions", type=_Questions())
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--model", type=MadeBefore(file_okay=False), help="Folder that `slmtk train` wrote, of a model trained to answer."
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="text:BASE|cascade:BASE+MODEL",
    help="Also ask a causal language model, alone or with a model that reads its answers aloud (repeatable).",
)
@click.option(
    "--ask", type=click.Choice(("text", "speech")), default="text", show_default=True, help="How --model is asked."
)
@click.option(
    "--form",
    type=click.Choice(("text+speech", "speech")),
    default="text+speech",
    show_default=True,
    help="How --model answers: in writing and then aloud, or aloud alone.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Ask the first so many questions of each split only.")
@click.option("--split", help="Hugging Face dataset: which split.  [default: its test splits]")
@click.option("--subset", help="Hugging Face dataset: which configuration.")
@click.option(
    "--roles", type=MadeBefore(file_okay=False), help="Folder with a clip, or a folder of clips, of each role."
)
@click.option(
    "--question-clips", type=MadeBefore(file_okay=False), help="Folder of recorded questions, named by their ids."
)
@_column_options
@click.option(
    "--recognizer", default="pocketsphinx", show_default=True, help="pocketsphinx, transformers or a plug-in."
)
@click.option("--recognizer-model", help="The recogniser's weights: a local folder or hub id.")
@click.option("--recognizer-revision", help="Tag or commit of a hub id.")
@click.option(
    "--grammar",
    type=MadeBefore(dir_okay=False),
    help="JSGF file of all that can be heard; default: the recogniser's general language model.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of kept transcripts.  [default: slmtk/transcripts in the user's cache]",
)
@click.option("--no-cache", is_flag=True, help="Recognise everything anew and keep no transcripts.")
@click.option("--speaker-encoder", "encoder", default="resemblyzer", show_default=True, help="What compares voices.")
@click.option(
    "--batch-size", default=8, show_default=True, help="Questions answered at once; answers do not depend on it."
)
@sampling_options
@checkpoint_option
@dry_run_option
@seed_option
@device_option
@config_option
@json_option
def command(questions: Path | str, out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Ask a model the QUESTIONS, let it answer aloud in each role's voice, and score that in OUT.

    QUESTIONS is a jsonl or Parquet file, a folder of them as the hub has it, or a dataset of the hub, such as
    cnxup/RoleTriviaQA. A row: {"question": ..., "answers": [...], "reference": recording of the role's voice}, and
    perhaps id, role, split and question_audio. `slmtk make-corpus` writes a sample, `slmtk roletrivia-build` (or
    `roletrivia-bench build`) makes one from trivia and voices; docs/roletrivia.md explains the scores. An interrupted
    run goes on when it is started again.
    """
    from slmtk.cli._roletrivia_tables import print_scores
    from slmtk.progress import terminal_progress
    from slmtk.stages.roletrivia import plan, roletrivia

    config = _config(options)
    if dry_run:
        print_report(plan(questions, out, config), as_json=as_json, title="roletrivia-bench, dry run")
        return
    report = roletrivia(questions, out, config, terminal_progress())
    print_scores(report, as_json=as_json)


def _config(options: dict[str, Any]) -> Any:
    from slmtk.asr.cache import default_cache_folder
    from slmtk.stages.roletrivia import Columns, RoleTriviaConfig, Source

    names = [name.replace("-", "_") for name in _COLUMNS]
    columns = Columns(**{name: options.pop(f"{name}_column") for name in names})
    if options["model"] is None and not options["baselines"]:
        raise click.UsageError("Missing option '--model' (or a --baseline): nobody to ask")
    cache = options.pop("cache") or default_cache_folder()
    source = Source(
        columns=columns,
        spoken=options["ask"] == "speech",
        **{name: options.pop(name) for name in ("split", "subset", "limit", "roles", "question_clips")},
    )
    no_cache = options.pop("no_cache")
    return RoleTriviaConfig(sampling=pop_sampling(options), source=source, cache=None if no_cache else cache, **options)

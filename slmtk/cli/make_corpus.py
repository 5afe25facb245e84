"""``slmtk make-corpus``: speech to begin with on a machine that has none."""

from __future__ import annotations

from pathlib import Path

import click

from slmtk.cli._options import config_option, json_option, seed_option
from slmtk.cli._output import print_report


@click.command("make-corpus")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--sentences", default=1600, show_default=True, help="Different sentences in the training part.")
@click.option("--test-sentences", default=40, show_default=True, help="Further, unseen sentences in the test part.")
@click.option(
    "--voices",
    metavar="NAMES",
    help="Voices, separated by commas; espeak-ng's own names work too: en-us+m3, or en-us+m3@40 with a pitch.  "
    "[default: ada,edward,fay,henry; with --trivia mini eight]",
)
@click.option(
    "--trivia",
    type=click.Choice(["sample", "mini"]),
    default="sample",
    show_default=True,
    help="Questions: twenty, or a small RoleTriviaQA of over a hundred in several wordings.",
)
@seed_option
@config_option
@json_option
def command(
    out: Path, sentences: int, test_sentences: int, voices: str | None, trivia: str, seed: int, as_json: bool
) -> None:
    """Write the embedded corpus into OUT: sentences of a small grammar in synthetic voices, offline.

    \b
    OUT/train, OUT/test     LibriSpeech layout, 16 kHz; no sentence of test is in train
    OUT/references          a longer clip of each voice
    OUT/grammar.jsgf        the sentences, for a recogniser (answers.jsgf: the trivia answers)
    OUT/unseen.txt, .jsonl  the sentences of test, with speakers and references
    OUT/questions.jsonl     the trivia questions that recordings in train answer
    OUT/roletrivia.jsonl    the trivia questions for roletrivia-bench
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.make_corpus import MakeCorpusConfig, make_corpus

    names = None if voices is None else tuple(name.strip() for name in voices.split(",") if name.strip())
    config = MakeCorpusConfig(sentences, test_sentences, names, trivia, seed)
    print_report(make_corpus(out, config, terminal_progress()), as_json=as_json, title="make-corpus")

"""``slmtk eval-wer``: speech -> scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import NORMALIZERS, checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report
from slmtk.corpus.base import LAYOUTS

_PROTOCOLS = ("seed-tts", "seed-tts-zh", "f5", "librispeech-hubert", "whisper-norm", "paper")


def _ceilings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    for value in values:
        name, equals, source = value.partition("=")
        if not (name and equals and source):
            raise click.BadParameter(f"{value!r}; expected NAME=SOURCE, for example recordings=LibriSpeech/test-clean")
    return tuple((value.partition("=")[0], value.partition("=")[2]) for value in values)


@click.command("eval-wer")
@click.argument("ref")
@click.argument("hyps", metavar="[HYP]...", nargs=-1)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help='[default: "scores/<name of HYP>"]')
@click.option(
    "--protocol",
    type=click.Choice(_PROTOCOLS),
    help="Score as others publish: sets recogniser, its model, normaliser and aggregation.  [default: as given]",
)
@click.option("--recognizer", help="pocketsphinx, transformers or a plug-in.  [default: pocketsphinx]")
@click.option("--recognizer-model", "asr_model", help="The recogniser's weights: a local folder or hub id.")
@click.option("--recognizer-revision", help="Tag or commit of a hub id.  [default: the newest]")
@click.option(
    "--grammar",
    type=MadeBefore(dir_okay=False),
    help="JSGF file that closes the vocabulary (pocketsphinx).",
)
@click.option(
    "--normalizer",
    type=click.Choice(NORMALIZERS),
    help="What makes texts comparable.  [default: whisper-english]",
)
@click.option(
    "--aggregation",
    type=click.Choice(("corpus", "mean")),
    help="Which WER leads: errors over all words, or the mean of utterances.  [default: corpus]",
)
@click.option("--language", help="Language that is spoken.  [default: en]")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of transcripts; nothing is recognised twice.  [default: slmtk's folder in the user's cache]",
)
@click.option("--no-cache", is_flag=True, help="Recognise everything again and keep no transcripts.")
@click.option(
    "--similarity/--no-similarity", default=True, show_default=True, help="Compare voices where there is a reference."
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    default=("sim-o",),
    show_default=True,
    help="What else to hear (repeatable): sim-o, sim-r, timbre, dnsmos, utmos, f0, mcd, pesq, stoi.",
)
@click.option(
    "--speaker-encoder",
    "speaker_encoders",
    multiple=True,
    help="What compares voices (repeatable): NAME or NAME:MODEL.  [default: the protocol's, or resemblyzer]",
)
@click.option(
    "--references",
    type=MadeBefore(dir_okay=False),
    help="The voices to compare with: a file for `slmtk synth` (fields id, text, reference).",
)
@click.option(
    "--ceiling",
    "ceilings",
    multiple=True,
    metavar="NAME=SOURCE",
    callback=_ceilings,
    help="Score this speech of the same utterances beside (repeatable): recordings, or codes of them.",
)
@click.option(
    "--against",
    type=MadeBefore(file_okay=False),
    help="Folder of another system's scores: differences with intervals and p-values (paired bootstrap).",
)
@click.option("--allow-missing", is_flag=True, help="Utterances without speech count as failed, all words deleted.")
@click.option("--only-common", is_flag=True, help="Leave out utterances that one of REF and HYP lacks.")
@click.option("--limit", type=click.IntRange(min=1), help="Score so many utterances, spread over the sorted ids.")
@click.option(
    "--group-by",
    multiple=True,
    help="Also score groups (repeatable): speaker, length (words of the text), or a column of the manifest.",
)
@click.option(
    "--worst",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many of the worst utterances to show with their alignment.",
)
@click.option("--bootstrap-samples", default=1000, show_default=True, help="Draws for the 95 % intervals.")
@seed_option
@click.option("--workers", type=click.IntRange(min=1), help="Processes of the recogniser.  [default: one a core]")
@device_option
@click.option("--layout", type=click.Choice(LAYOUTS), default="auto", show_default=True, help="How REF is laid out.")
@click.option("--id-column", help="REF a manifest or dataset: column of ids.  [default: found by name]")
@click.option("--audio-column", help="Column of paths or audio.  [default: found by name]")
@click.option("--text-column", help="Column of texts.  [default: found by name]")
@click.option("--speaker-column", help="Column of speakers.  [default: found by name]")
@checkpoint_option
@dry_run_option
@json_option
@config_option
@click.pass_context
def command(
    ctx: click.Context, /, ref: str, hyps: tuple[str, ...], out: Path | None, as_json: bool, **options: Any
) -> None:
    """Score the speech in HYP against the texts in REF; without HYP, the speech in REF against its own texts.

    Each is a folder of recordings, a manifest, a folder of codes (decoded by their codec), or what `slmtk synth` or
    `slmtk inspect --resynth` wrote. Utterances are joined by id. Failed utterances count with all words deleted.
    Several HYPs are runs of one system with different seeds: one score, with the spread between them.

    \b
    slmtk eval-wer LibriSpeech/test-clean              what the recogniser makes of the recordings themselves
    slmtk eval-wer LibriSpeech/test-clean codes        the same after the codec
    slmtk eval-wer speech --protocol seed-tts          synthesised speech against the texts it was given
    slmtk eval-wer test new --ceiling recordings=test --against scores/old
    """
    from slmtk.asr.cache import default_cache_folder
    from slmtk.corpus import CorpusConfig
    from slmtk.engines.local import count_cores
    from slmtk.progress import terminal_progress
    from slmtk.stages.eval_wer import EvalConfig, eval_wer, plan

    dry_run, no_cache, cache = (options.pop(name) for name in ("dry_run", "no_cache", "cache"))
    if cache and no_cache:
        raise click.UsageError("--cache and --no-cache exclude each other; give one of them")
    columns = ("layout", "id_column", "audio_column", "text_column", "speaker_column")
    corpus = CorpusConfig(**{name: options.pop(name) for name in columns})
    workers = options.pop("workers") or count_cores()
    cache = None if no_cache else cache or default_cache_folder()
    config = EvalConfig(**options, cache=cache, workers=workers, corpus=corpus)
    out = out or Path("scores") / (Path(hyps[0] if hyps else ref).resolve().name or "speech")
    if dry_run:
        print_report(plan(ref, hyps, out, config), as_json=as_json, title="eval-wer, dry run")
        return
    report = eval_wer(ref, hyps, out, config, terminal_progress())
    if sys.stdout.isatty() and not as_json:
        from slmtk.cli._eval_wer_tables import print_scores

        print_scores(report)
    else:
        print_report(report, as_json=as_json)
    ctx.exit(3 if report.unreadable else 0)

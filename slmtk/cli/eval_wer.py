"""``slmtk eval-wer``: speech -> scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report
from slmtk.corpus.base import LAYOUTS

_NORMALIZERS = ("whisper-english", "basic", "none")


@click.command("eval-wer")
@click.argument("ref")
@click.argument("hyp", required=False)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help='[default: "scores/<name of HYP>"]')
@click.option(
    "--recognizer", default="pocketsphinx", show_default=True, help="pocketsphinx, transformers or a plug-in."
)
@click.option("--recognizer-model", "asr_model", help="The recogniser's weights: a local folder or hub id.")
@click.option(
    "--grammar",
    type=MadeBefore(dir_okay=False),
    help="JSGF file that closes the vocabulary (pocketsphinx).",
)
@click.option(
    "--normalizer",
    type=click.Choice(_NORMALIZERS),
    default="whisper-english",
    show_default=True,
    help="What makes texts comparable.",
)
@click.option(
    "--similarity/--no-similarity", default=True, show_default=True, help="Compare voices where there is a reference."
)
@click.option("--speaker-encoder", default="resemblyzer", show_default=True, help="What compares voices.")
@click.option(
    "--references",
    type=MadeBefore(dir_okay=False),
    help="The voices to compare with: a file for `slmtk synth` (fields id, text, reference).",
)
@click.option("--allow-missing", is_flag=True, help="Utterances without speech count as failed, all words deleted.")
@click.option("--only-common", is_flag=True, help="Leave out utterances that one of REF and HYP lacks.")
@click.option("--limit", type=click.IntRange(min=1), help="Score so many utterances, spread over the sorted ids.")
@click.option("--group-by", help="Also score each speaker (speaker), or each value of a column of the manifest.")
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
def command(ctx: click.Context, /, ref: str, hyp: str | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Score the speech in HYP against the texts in REF; without HYP, the speech in REF against its own texts.

    Each is a folder of recordings, a manifest, a folder of codes (decoded by their codec), or what `slmtk synth` or
    `slmtk inspect --resynth` wrote. Utterances are joined by id. Failed utterances count with all words deleted.

    \b
    slmtk eval-wer LibriSpeech/test-clean              what the recogniser makes of the recordings themselves
    slmtk eval-wer LibriSpeech/test-clean codes        the same after the codec
    slmtk eval-wer speech                              synthesised speech against the texts it was given
    """
    from slmtk.config import to_jsonable
    from slmtk.corpus import CorpusConfig
    from slmtk.engines.local import count_cores
    from slmtk.progress import terminal_progress
    from slmtk.stages.eval_wer import EvalConfig, eval_wer, plan

    dry_run = options.pop("dry_run")
    columns = ("layout", "id_column", "audio_column", "text_column", "speaker_column")
    corpus = CorpusConfig(**{name: options.pop(name) for name in columns})
    workers = options.pop("workers") or count_cores()
    config = EvalConfig(**options, workers=workers, corpus=corpus)
    out = out or Path("scores") / (Path(hyp or ref).resolve().name or "speech")
    if dry_run:
        print_report(plan(ref, hyp, out, config), as_json=as_json, title="eval-wer, dry run")
        return
    report = eval_wer(ref, hyp, out, config, terminal_progress())
    values = to_jsonable(report)
    if sys.stdout.isatty() and not as_json:
        values = _for_people(values)
    print_report(values, as_json=as_json, title=f"Scores in {report.out}")
    ctx.exit(3 if report.unreadable else 0)


def _for_people(values: dict[str, Any]) -> dict[str, Any]:
    """Rates side by side, and no settings: those are in scores.json."""
    short = {"substitutions": "sub", "deletions": "del", "insertions": "ins"}
    columns = ("rate", "low", "high", *short)
    rates = {name.upper(): {short.get(key, key): values[name][key] for key in columns} for name in ("wer", "cer")}
    means = {"WER of an utterance": values["mean_utterance_wer"], **values["similarity"]}
    dropped = ("out", "settings", "wer", "cer", "mean_utterance_wer", "similarity")
    shown = {key: value for key, value in values.items() if key not in dropped and value != {}}
    return {"error rates, 95 %": rates, "means, 95 %": means, **shown}

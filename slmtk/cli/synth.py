"""``slmtk synth``: text in, speech in a reference's voice out."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import (
    NORMALIZERS,
    checkpoint_option,
    config_option,
    device_option,
    engine_option,
    json_option,
    num_shards_option,
    overwrite_option,
    ray_address_option,
    seed_option,
)
from slmtk.cli._output import print_report
from slmtk.cli._sampling import pop_sampling, sampling_options


class _Voice(MadeBefore):
    """A recording, a folder of recordings, CODES_FOLDER:SPEAKER_ID, or the name of a voice that the model carries."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "file"  # what it is most often, and in other commands always

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder, colon, speaker = str(value).rpartition(":")
        if colon and speaker and not Path(value).exists() and Path(folder).is_dir():
            return Path(value)
        # Whether the model has it shows when the model is known.
        if re.fullmatch(r":?[\w-]+", str(value)) and not Path(value).exists():
            return Path(f":{str(value).removeprefix(':')}")
        return super().convert(value, param, ctx)


@click.command("synth")
@click.argument("text")
@click.argument("out", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--model",
    type=MadeBefore(file_okay=False),
    help="Folder that `slmtk train` wrote.  [default: the built-in voice]",
)
@click.option(
    "--speaker",
    "speakers",
    multiple=True,
    type=_Voice(),
    help="Voice to speak in: a recording, a folder of one speaker's (averaged), CODES_FOLDER:SPEAKER_ID, or a voice "
    "that the model carries, by name; given several times, the lines take turns.",
)
@click.option(
    "--split-long/--no-split-long",
    default=True,
    show_default=True,
    help="Speak a text that takes longer than --max-seconds, or than the model speaks well, sentence by sentence.",
)
@click.option(
    "--batch-size",
    default=8,
    show_default=True,
    help="Texts spoken at once; what is said does not depend on it.",
)
@click.option(
    "--n-best",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Speak each text so many times, with --seed and the seeds after it, and keep the best.",
)
@click.option(
    "--rerank", type=click.Choice(("wer",)), default="wer", show_default=True, help="What the best one is: lowest WER."
)
@click.option(
    "--recognizer", default="pocketsphinx", show_default=True, help="pocketsphinx, transformers or a plug-in."
)
@click.option("--recognizer-model", help="The recogniser's weights: a local folder or hub id.")
@click.option("--grammar", type=MadeBefore(dir_okay=False), help="JSGF file that closes the vocabulary (pocketsphinx).")
@click.option(
    "--normalizer",
    type=click.Choice(NORMALIZERS),
    default="whisper-english",
    show_default=True,
    help="What makes texts comparable.",
)
@click.option("--stream", metavar="TARGET", help="Write audio as it is generated: to a .wav, or - for s16le on stdout.")
@sampling_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes on the CPU, or actors of a Ray cluster.  [default: this process; Ray: each GPU, or core]",
)
@click.option("--shard-id", type=click.IntRange(min=0), help="Speak only the lines of this shard, 0 .. N-1.")
@num_shards_option
@engine_option
@ray_address_option
@overwrite_option
@checkpoint_option
@dry_run_option
@seed_option
@device_option
@config_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, text: str, out: Path | None, dry_run: bool, as_json: bool, stream: str | None, **options: Any
) -> None:
    """Speak TEXT and write OUT: wav files, codes and a line for each; run it again to resume.

    TEXT is words, a .txt/.jsonl/.tsv/.csv file of texts, or - for texts on stdin. A file's lines may carry an id and a
    voice of their own (fields id, text, reference). OUT is "speech/<first words, or the file's name>" if not given.

    \b
    slmtk synth "Good morning."
    slmtk synth "Good morning." --model model --speaker anna.wav
    slmtk synth book.txt book --model model --speaker recordings/anna --batch-size 16
    slmtk synth "Good morning." --model model --speaker codes:anna --stream - | aplay -f S16_LE -r 16000
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.synth import SynthConfig, default_out, plan, synth

    options["model"] = options["model"] or _built_in()
    config = SynthConfig(sampling=pop_sampling(options), **options)
    if dry_run:
        report = plan(text, out or default_out(text), config, stream=stream)
        print_report(report, as_json=as_json, title="synth, dry run")
    elif stream is not None:
        _check_stream(config, out)
        _stream(ctx, text, stream, config, as_json)
    else:
        progress = terminal_progress()
        out = out or default_out(text)
        progress.message(f"writing to {out}")
        print_report(synth(text, out, config, progress), as_json=as_json, title=f"Speech in {out}")


def _built_in() -> Path:
    from slmtk import voice

    folder = voice.built_in()
    if folder is None:
        raise click.UsageError(
            "this installation of slmtk has no built-in voice; give --model DIR, a folder that `slmtk train` wrote"
        )
    return folder


def _check_stream(config: Any, out: Path | None) -> None:
    """What only whole lines can be given is refused."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("n_best", "workers", "shard_id", "num_shards", "engine", "overwrite")
        if getattr(config, name) != defaults[name]
    ]
    if out is not None:
        given.insert(0, f"OUT ({out})")
    if given:
        raise click.UsageError(f"--stream writes audio alone, as it is generated; leave out {', '.join(given)}")


def _stream(ctx: click.Context, text: str, target: str, config: Any, as_json: bool) -> None:
    import json

    from slmtk.config import to_jsonable
    from slmtk.progress import terminal_progress
    from slmtk.stages.synth.stream import CLOSED_STATUS, open_stdout, synth_stream

    to_stdout = target == "-"
    report = synth_stream(
        text,
        open_stdout() if to_stdout else Path(target),
        config,
        terminal_progress(),
        lambda line: click.echo(line, err=True),
    )
    if to_stdout:  # which is audio, so the report goes beside it
        click.echo(json.dumps(to_jsonable(report), indent=2, ensure_ascii=False), err=True)
    else:
        print_report(report, as_json=as_json, title=f"Speech in {target}")
    ctx.exit(CLOSED_STATUS if report.closed else 0)

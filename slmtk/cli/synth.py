"""``slmtk synth``: text in, speech in a reference's voice out."""

from __future__ import annotations

from pathlib import Path

import click

from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report


@click.command("synth")
@click.argument("text")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path), default=Path("speech"))
@click.option(
    "--model",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that `slmtk train` wrote.",
)
@click.option(
    "--speaker",
    "speakers",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recording of the voice to speak in; given several times, the lines take turns.",
)
@click.option("--temperature", default=0.0, show_default=True, help="0: always the best code (greedy).")
@click.option("--top-k", default=0, show_default=True, help="Choose among the k best codes; 0: all.")
@click.option("--top-p", default=1.0, show_default=True, help="Choose among the best codes of this probability.")
@click.option(
    "--repetition-penalty", type=float, help="Default: 1.2 for next-token models, 1.0 for multi-token models."
)
@click.option("--max-seconds", default=20.0, show_default=True, help="Longer speech is cut and counts as failed.")
@click.option("--loop-seconds", default=2.0, show_default=True, help="Repetition after which to give up; 0: never.")
@checkpoint_option
@seed_option
@device_option
@config_option
@json_option
def command(
    text: str,
    out: Path,
    model: Path,
    speakers: tuple[Path, ...],
    temperature: float,
    top_k: int,
    top_p: float,
    repetition_penalty: float | None,
    max_seconds: float,
    loop_seconds: float,
    codec_checkpoint: Path | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Speak TEXT (words, or a .txt/.jsonl/.tsv file of texts) and write OUT: wav files, codes and a report.

    A file's lines may carry an id and a reference voice of their own (fields id, text, reference).
    """
    from slmtk.models.sampling import Sampling
    from slmtk.progress import terminal_progress
    from slmtk.stages.synth import SynthConfig, synth

    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty or 1.0,
        max_seconds=max_seconds,
        loop_seconds=loop_seconds,
        seed=seed,
    )
    config = SynthConfig(
        model=model,
        speakers=speakers,
        sampling=sampling,
        model_penalty=repetition_penalty is None,
        device=device,
        codec_checkpoint=codec_checkpoint,
    )
    report = synth(text, out, config, terminal_progress())
    print_report(report, as_json=as_json, title="synth")

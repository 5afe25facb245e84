"""Write the tables of codec `world` from folders of recorded speech, one file a voice: see ATTRIBUTION.md for ours.

python -m slmtk.codecs.world.train_codebooks OUT.safetensors FOLDER... [--synthetic-voices 16]
"""

from __future__ import annotations

import os
from pathlib import Path

import click
import numpy as np

from slmtk.codecs.world.analysis import FRAME_SIZE, SAMPLE_RATE, Features, analyse
from slmtk.codecs.world.training import TrainingConfig, fit_tables
from slmtk.errors import CorpusError

# espeak-ng's variants of US English for synthetic voices, in the order in which they are taken.
_VARIANTS = (
    "f2",
    "m3",
    "f4",
    "m1",
    "f1",
    "m7",
    "f3",
    "m2",
    "edward",
    "Annie",
    "Henrique",
    "Andrea",
    "m5",
    "f5",
    "m4",
    "m6",
)
_SENTENCES = (
    "The north wind and the sun were disputing which was the stronger, when a traveller came along.",
    "Nine thousand yellow boats shook the quiet harbour, and nobody measured the treasure on board.",
    "She asked why both young judges had chosen to leave their village before the storm.",
    "Put a large bowl of oil, five eggs and some fresh thyme beside the oven, please.",
)


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--exclude", multiple=True, help="Leave out files whose name begins so; may be given more than once.")
@click.option("--synthetic-voices", default=0, show_default=True, help="Add this many voices of espeak-ng.")
@click.option("--seed", default=0, show_default=True, help="Of the first centroids.")
def main(out: Path, folders: tuple[Path, ...], exclude: tuple[str, ...], synthetic_voices: int, seed: int) -> None:
    """Fit codebooks and voices to the sound files in FOLDERS and write them to OUT."""
    utterances = [_read(path) for folder in folders for path in _sound_files(folder, exclude)]
    if not utterances:
        raise CorpusError(f"no .flac or .wav files in {', '.join(map(str, folders))}")
    utterances += [_speak(variant) for variant in _VARIANTS[:synthetic_voices]]
    click.echo(f"{len(utterances)} voices, {sum(len(u.pitch) for u in utterances) / 80 / 60:.1f} min", err=True)
    tables = fit_tables(utterances, TrainingConfig(seed=seed), lambda line: click.echo(line, err=True))
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_bytes(tables.to_bytes())
    os.replace(temporary, out)


def _sound_files(folder: Path, exclude: tuple[str, ...]) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".wav"))
    return [path for path in found if not path.name.startswith(exclude)] if exclude else found


def _read(path: Path) -> Features:
    from slmtk import audio

    wav, _ = audio.read(path, SAMPLE_RATE)
    return analyse(audio.pad_to_frames(wav, FRAME_SIZE).numpy().astype(np.float64))


def _speak(variant: str) -> Features:
    from slmtk import audio
    from slmtk.synthesis.espeak import parse_voice, speak

    wav = speak(" ".join(_SENTENCES), parse_voice(f"en-us+{variant}"))
    return analyse(audio.pad_to_frames(wav, FRAME_SIZE).numpy().astype(np.float64))


if __name__ == "__main__":
    main()

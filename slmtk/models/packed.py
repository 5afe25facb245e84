"""A trained model -> a folder a quarter of its size that speaks on its own: weights of 8 bits, tokenizer, named voices.

python -m slmtk.models.packed MODEL OUT [--voice NAME=REFERENCE ...] [--piece-seconds 10] [--choose mean ...]
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from safetensors.torch import save
from torch import Tensor

from slmtk.config import to_jsonable, write_json
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.errors import ConfigError, FormatError, ShapeError, SlmtkError
from slmtk.models.int8 import from_int8, to_int8
from slmtk.models.loading import MODEL_INFO, PACKED_FORMAT, PACKED_WEIGHTS, SCALE
from slmtk.models.own_voices import OwnVoices, write_voices
from slmtk.models.released_files import read_object, read_weights
from slmtk.models.sampling import CHOICES, Sampling
from slmtk.models.speaker import Synthesizer
from slmtk.shards.writer import file_sha256

_KEPT_INFO = ("format", "codec", "vocabulary", "speaker", "tasks")
"""What of the model's slmtk.json a packed one keeps; how it was trained stays behind, with paths of that machine."""


@dataclass(frozen=True)
class PackReport:
    """What was packed.

    Attributes:
        out: the folder.
        parameters: numbers in the model's weights, statistics of its speaker vectors included; shared ones once.
        bytes: of all files of the folder.
        relative_error: of all matrices together: root of the summed squares of the rounding errors over that of the
            weights.
        worst_matrix: the name of the matrix with the largest such error.
        worst_relative_error: its error.
        voices: the model's own, the default first.
    """

    out: str
    parameters: int
    bytes: int
    relative_error: float
    worst_matrix: str
    worst_relative_error: float
    voices: list[str]


def pack(
    model: Path,
    out: Path,
    *,
    voices: OwnVoices | None = None,
    piece_seconds: float | None = None,
    sampling: Sampling | None = None,
) -> PackReport:
    """Write the model of the folder ``model`` to ``out`` with 8 bits a weight; the same bytes for the same model.

    Matrices become int8 with a scale a row, vectors float16 (float32 where that would not do). A run with the same
    ``out`` replaces what is there.

    Args:
        model: a finished model, not packed.
        out: an empty or new folder, or one that was packed before.
        voices: that the model shall carry.
        piece_seconds: of the longest texts that the model speaks well: `synth` splits longer ones at their sentences,
            whatever its limit.
        sampling: whose way to choose codes and temperature shall be the model's own, for who asks for no others.

    Raises:
        FormatError: ``model`` is no finished model, or ``out`` holds something else.
        ConfigError: ``piece_seconds`` is not positive, or a voice cannot be written.
    """
    if piece_seconds is not None and piece_seconds <= 0:
        raise ConfigError(f"--piece-seconds {piece_seconds} must be positive")
    info = _check(model, out)
    stored, report = _shrink(read_weights(model), model)
    out.mkdir(parents=True, exist_ok=True)
    # First away with what says that the folder is whole, at last back with it.
    (out / MODEL_INFO).unlink(missing_ok=True)
    temporary = out / f".{PACKED_WEIGHTS}.{os.getpid()}.tmp"
    temporary.write_bytes(save(stored))
    os.replace(temporary, out / PACKED_WEIGHTS)
    write_json(out / "config.json", _config(model))
    shutil.rmtree(out / "tokenizer", ignore_errors=True)
    load_text_tokenizer(model / "tokenizer").save(out / "tokenizer")
    if voices is not None:
        write_voices(out, voices)
    packed = {"format": PACKED_FORMAT, "sha256": file_sha256(out / PACKED_WEIGHTS)}
    kept = {name: info[name] for name in _KEPT_INFO if name in info}
    pieces = {} if piece_seconds is None else {"piece_seconds": piece_seconds}
    own = {} if sampling is None else {"sampling": sampling.own()}
    write_json(out / MODEL_INFO, {"kind": "model", **kept, **pieces, **own, "packed": packed})
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return PackReport(out=str(out), bytes=size, voices=_default_first(voices), **report)


def _default_first(voices: OwnVoices | None) -> list[str]:
    if voices is None:
        return []
    return sorted(voices.voices, key=lambda name: (name != voices.default, name))


def _check(model: Path, out: Path) -> dict[str, Any]:
    """The info of a model that can be packed to ``out``."""
    if not (model / MODEL_INFO).is_file() or not (model / "config.json").is_file():
        raise FormatError(f"{model} holds no finished model; expected a folder that `slmtk train` wrote")
    info = read_object(model / MODEL_INFO)
    if info.get("kind") != "model" or "packed" in info:
        raise FormatError(f"{model} is no model of `slmtk train`, or packed already; name the folder of the original")
    if out.exists() and any(out.iterdir()) and not (out / PACKED_WEIGHTS).is_file():
        raise FormatError(f"{out} holds something else than a packed model; name a new folder")
    return info


def _config(model: Path) -> dict[str, Any]:
    """The model's config.json without what differs from machine to machine."""
    config = read_object(model / "config.json")
    for settings in (config, config.get("backbone") or {}):
        settings.pop("_name_or_path", None)
    return config


def _shrink(state: Mapping[str, Tensor], model: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors to store, and what `PackReport` says of them."""
    stored: dict[str, Tensor] = {}
    errors: dict[str, tuple[float, float]] = {}  # summed squares of the error, and of the weights
    for name, weight in state.items():
        if weight.ndim < 2 or not weight.is_floating_point():
            stored[name] = _shorten(weight)
            continue
        try:
            stored[name], scales = to_int8(weight)
        except ShapeError as error:
            raise FormatError(f"{name} of the model {model}: {error}") from error
        stored[name + SCALE] = scales
        difference = (from_int8(stored[name], scales) - weight).double()
        errors[name] = float(difference.square().sum()), float(weight.double().square().sum())
    each = {name: (error / max(weight, 1e-30)) ** 0.5 for name, (error, weight) in errors.items()}
    worst = max(each, key=lambda name: each[name], default="")
    off, whole = sum(error for error, _ in errors.values()), sum(weight for _, weight in errors.values())
    return stored, {
        "parameters": sum(weight.numel() for weight in state.values()),
        "relative_error": (off / max(whole, 1e-30)) ** 0.5,
        "worst_matrix": worst,
        "worst_relative_error": each.get(worst, 0.0),
    }


def _shorten(vector: Tensor) -> Tensor:
    """float16 if that keeps three digits of the largest value, else as it is."""
    vector = vector.contiguous()
    if not vector.is_floating_point() or not vector.numel():
        return vector
    half = vector.half()
    return half if bool((half.float() - vector.float()).abs().max() <= vector.abs().max() / 1024) else vector


def make_voices(model: Path, references: Mapping[str, Path], default: str = "") -> OwnVoices:
    """Make voices of recordings, folders of them or CODES_FOLDER:SPEAKER_ID, as `synth` would.

    Args:
        model: whose codec, and speaker encoder, listen.
        references: place of each by its name.
        default: the name of the one that speaks if none is asked for; "" for the first.

    Raises:
        SlmtkError: the model cannot be loaded, or a voice not be used.
    """
    synthesizer = Synthesizer.load(model)
    made = {name: synthesizer.voice(place) for name, place in references.items()}
    return OwnVoices(made, default or next(iter(references), ""))


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--voice",
    "voices",
    multiple=True,
    metavar="NAME=REFERENCE",
    help="A voice to carry: a recording, a folder of them or CODES_FOLDER:SPEAKER_ID. The first one is the default.",
)
@click.option("--piece-seconds", type=float, help="Longer texts are split at their sentences.")
@click.option("--choose", type=click.Choice(CHOICES), help="Way to choose codes that shall be the model's own.")
@click.option("--temperature", default=0.0, help="And its temperature.")
def main(
    model: Path,
    out: Path,
    voices: tuple[str, ...],
    piece_seconds: float | None,
    choose: str | None,
    temperature: float,
) -> None:
    """Write the model in folder MODEL to the folder OUT with 8 bits a weight, and say what that costs."""
    references = {}
    for voice in voices:
        name, equals, place = voice.partition("=")
        if not equals or not name or not place or name in references:
            raise click.UsageError(f"--voice {voice}; expected NAME=REFERENCE, each name once")
        references[name] = Path(place)
    try:
        own = make_voices(model, references) if references else None
        sampling = Sampling(choose=choose, temperature=temperature) if choose else None
        report = pack(model, out, voices=own, piece_seconds=piece_seconds, sampling=sampling)
    except SlmtkError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(to_jsonable(report), indent=2))


if __name__ == "__main__":
    main()

"""Speech against the recording of the same sentence, frame by frame and sample by sample -> numbers by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from slmtk.errors import AudioError
from slmtk.metrics import cepstral, frames, prosody, resynthesis

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
FRAMES = ("f0", "mcd")
SIGNAL = ("pesq", "stoi")


def check_packages(names: Collection[str]) -> None:
    """Raise early if a package is missing that ``names`` need.

    Raises:
        MissingDependencyError: says which, and how to install it.
    """
    if set(names) & set(FRAMES):
        frames.pyworld()
    for name, package in (("pesq", "pesq"), ("stoi", "pystoi")):
        if name in names:
            resynthesis.load(package)


def compare_signals(
    names: Collection[str], speech: Tensor, recording: Tensor, left_out: Counter[str]
) -> dict[str, float]:
    """Return what ``names`` of "f0", "mcd", "pesq" and "stoi" say.

    Args:
        names: what is measured.
        speech: float32 [S] in [-1, 1] at 16 kHz.
        recording: float32 [S'] at 16 kHz.
        left_out: "MEASURE: reason" is counted here for what cannot be judged.
    """
    found: dict[str, float] = {}
    chosen = [name for name in FRAMES if name in names]
    try:
        if chosen:
            heard, meant = frames.analyse(speech, SAMPLE_RATE), frames.analyse(recording, SAMPLE_RATE)
            pairs = frames.align(heard, meant)
            if "mcd" in names:
                found[cepstral.NAME] = cepstral.mel_cepstral_distortion(heard, meant, pairs)
            if "f0" in names:
                chosen = ["f0"]
                found |= _pitch(prosody.pitch_errors(heard, meant, pairs))
    except AudioError as error:
        left_out.update(f"{name}: {error.kind}" for name in chosen)
    return found | _compare_samples(names, speech, recording, left_out)


def _pitch(errors: prosody.PitchErrors) -> dict[str, float]:
    return {
        "f0 rmse Hz": errors.rmse_hz,
        "f0 rmse cents": errors.rmse_cents,
        "f0 correlation": errors.correlation,
        "voicing error": errors.voicing_error,
    }


def _compare_samples(
    names: Collection[str], speech: Tensor, recording: Tensor, left_out: Counter[str]
) -> dict[str, float]:
    chosen = [name for name in SIGNAL if name in names]
    if not chosen:
        return {}
    try:
        heard, meant = resynthesis.line_up(speech, recording, SAMPLE_RATE)
    except AudioError as error:
        left_out.update(f"{name}: {error.kind}" for name in chosen)
        return {}
    judges: dict[str, tuple[str, Callable[[], float]]] = {
        "pesq-wb": ("pesq", lambda: resynthesis.pesq(heard, meant)),
        "stoi": ("stoi", lambda: resynthesis.stoi(heard, meant)),
        "estoi": ("stoi", lambda: resynthesis.stoi(heard, meant, extended=True)),
    }
    found: dict[str, float] = {}
    for metric, (name, judge) in judges.items():
        if name in chosen:
            try:
                found[metric] = judge()
            except AudioError as error:
                left_out[f"{metric}: {error.kind}"] += 1
    return found

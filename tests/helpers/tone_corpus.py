"""A corpus of tones on disk, and `tokenize` with a codec that reads them: what tests of that command share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from slmtk.progress import SilentProgress
from slmtk.stages.tokenize import TokenizeConfig, TokenizeReport, tokenize
from tests.helpers.tone import ToneCodec

TONE = "tests.helpers.tone:ToneCodec"
RATE = 16_000
FIVE_A_PART = 0.7 / 3600
"""Hours: by id, each five of `write_tones` have 40 frames (0.8 s), the first sum to reach 35 (0.7 s)."""


class Notebook(SilentProgress):
    """Keeps the messages."""

    def __init__(self):
        self.lines: list[str] = []

    def message(self, text):
        self.lines.append(text)


def run(source, out, progress=None, **options) -> TokenizeReport:
    options = {"codec": TONE, "device": "cpu", "workers": 1, **options}
    return tokenize(source, out, TokenizeConfig(**options), progress or SilentProgress())


def tones(pitches, levels) -> np.ndarray:
    return ToneCodec().decode(torch.tensor([[pitches, levels]]))[0].numpy()


def write_tones(root: Path, count: int) -> Path:
    """Write ``count`` recordings of 6 to 10 frames (0.12 to 0.2 s), in LibriSpeech's layout."""
    for number in range(count):
        frames = 6 + number % 5
        path = root / f"s{number % 3}/1/s{number % 3}-1-{number:04d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tones([number % 64] * frames, [2] * frames), RATE)
        with (path.parent / f"s{number % 3}-1.trans.txt").open("a") as lines:
            lines.write(f"{path.stem} TEXT {number}\n")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def compute_in_this_process(monkeypatch) -> None:
    """Let `tokenize` go the way it goes beside a GPU, on the CPU."""
    from slmtk.stages import tokenize as module

    monkeypatch.setattr(module, "resolve_device", lambda name: "cpu:0")

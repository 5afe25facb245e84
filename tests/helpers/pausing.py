"""Sound files with pauses at known places, for tests of what is split where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def write_with_pauses(path: Path, seconds: float, pauses: list[float], rate: int = RATE, channels: int = 1) -> Path:
    """Write noise that is ten times quieter for 0.1 s around each of ``pauses`` (seconds)."""
    samples = np.random.default_rng(0).normal(size=round(seconds * rate)) / 10
    for pause in pauses:
        samples[round((pause - 0.05) * rate) : round((pause + 0.05) * rate)] /= 10
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([samples] * channels, 1), rate)
    return path

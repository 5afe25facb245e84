"""Vowels sung to a melody that is given: speech whose pitch and envelope are known to the sample."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RATE = 16_000
_FORMANTS = ((700.0, 130.0), (1200.0, 150.0), (2600.0, 200.0), (3600.0, 300.0))


def melody(seconds: float = 2.0, low: float = 110.0, high: float = 160.0) -> np.ndarray:
    """Pitch in Hz per sample, going up and down once a second."""
    times = np.arange(int(seconds * RATE)) / RATE
    return low * (high / low) ** (0.5 - 0.5 * np.cos(2 * np.pi * times))


def sing(pitch: np.ndarray, vowel: float = 1.0) -> Tensor:
    """float32 [S] at 16 kHz: harmonics of ``pitch`` under formants ``vowel`` times as high, three syllables/s."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wav = np.zeros(len(pitch))
    for harmonic in range(1, int(7600 / pitch.min()) + 1):
        hertz = harmonic * pitch
        level = sum(1 / (1 + ((hertz - vowel * centre) / width) ** 2) for centre, width in _FORMANTS) + 0.003
        wav += np.where(hertz < 7600, level, 0.0) * np.cos(harmonic * phase)
    times = np.arange(len(pitch)) / RATE
    syllables = np.clip(1.2 * np.abs(np.sin(1.5 * 2 * np.pi * times)), 0.1, 1)
    hiss = np.random.default_rng(0).normal(size=len(wav)) * 1e-3 * np.abs(wav).max()
    sung = wav * syllables + hiss
    return torch.from_numpy((0.5 * sung / np.abs(sung).max()).astype(np.float32))

"""FACodec's fixed tables (NaturalSpeech 3, arXiv 2403.03100): resampling filter, mel filterbank, window, positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

WIDTH = 256
SAMPLE_RATE = 16_000
FFT_SIZE = 1024
WINDOW_SIZE = 800
MEL_BANDS = 80
FILTER_TAPS = 12


def resampling_filter() -> Tensor:
    """Low-pass of the anti-aliased activations, float32 [1, 1, 12]: a sinc under a Kaiser window, its sum 1.

    Cutoff 0.25 cycles a sample of the doubled rate, transition half-width 0.3: Kaiser's formula gives the shape.
    """
    cutoff, half_width = 0.25, 0.3
    attenuation = 2.285 * (FILTER_TAPS // 2 - 1) * math.pi * 4 * half_width + 7.95
    shape = 0.1102 * (attenuation - 8.7)
    window = torch.kaiser_window(FILTER_TAPS, periodic=False, beta=shape, dtype=torch.float64)
    time = torch.arange(FILTER_TAPS, dtype=torch.float64) - (FILTER_TAPS - 1) / 2
    taps = 2 * cutoff * torch.sinc(2 * cutoff * time) * window
    return (taps / taps.sum()).float().view(1, 1, -1)


def positions() -> Tensor:
    """Sinusoids, float32 [5000, 1, 256]: even columns sines, odd columns cosines."""
    frequency = torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(10_000.0) / WIDTH))
    angle = torch.arange(5000)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).view(5000, 1, WIDTH)


def window() -> Tensor:
    """Periodic Hann window, float32 [800]."""
    return torch.hann_window(WINDOW_SIZE)


def mel_filterbank() -> Tensor:
    """Triangles of equal area on Slaney's mel scale from 0 to 8,000 Hz, float32 [80, 513]."""
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1, dtype=torch.float64)
    top = _hz_to_mel(SAMPLE_RATE / 2)
    edges = _mel_to_hz(torch.linspace(0, top, MEL_BANDS + 2, dtype=torch.float64))
    width = edges.diff()
    distance = edges[:, None] - frequencies
    rising, falling = -distance[:-2] / width[:-1, None], distance[2:] / width[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


# Slaney's scale: linear to 1,000 Hz (15 mel), then 27 steps for a factor of 6.4.
_LINEAR_HZ = 200 / 3
_LOG_STEP = math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ if hz < 1000 else 15 + math.log(hz / 1000) / _LOG_STEP


def _mel_to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * _LINEAR_HZ, 1000 * torch.exp((mel - 15) * _LOG_STEP))

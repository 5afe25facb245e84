"""FACodec V2's prosody feature: waveform -> the lowest 20 bands of a log-mel spectrogram."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slmtk.codecs.facodec import tables

BANDS = 20
HOP = 200
_OVERHANG = (tables.FFT_SIZE - HOP) // 2
MIN_SAMPLES = _OVERHANG + 1
"""The waveform is mirrored at its ends by 412 samples, so it needs one more than that."""


class MelTransform(nn.Module):
    """Window and filterbank as published."""

    def __init__(self) -> None:
        """Filled with the computed tables; a checkpoint brings its own."""
        super().__init__()
        self.register_buffer("mel_basis", tables.mel_filterbank())
        self.register_buffer("hann_window", tables.window())

    mel_basis: Tensor
    hann_window: Tensor

    def forward(self, wav: Tensor) -> Tensor:
        """Return float32 [20, floor(S / 200)] for ``wav`` float32 [S], S >= 413."""
        padded = F.pad(wav[None], (_OVERHANG, _OVERHANG), mode="reflect")[0]
        side = (tables.FFT_SIZE - tables.WINDOW_SIZE) // 2
        # Frames are cut where the window is not zero; a delay changes no magnitude.
        frames = padded.unfold(0, tables.FFT_SIZE, HOP)[:, side : side + tables.WINDOW_SIZE] * self.hann_window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=tables.FFT_SIZE))
        magnitude = spectrum.square().sum(-1).add_(1e-9).sqrt_()
        return torch.matmul(self.mel_basis[:BANDS], magnitude.T).clamp_(min=1e-5).log_()

"""The activation of BigCodec: snake at twice the sample rate, so that the harmonics it makes do not fold back.

Sources: Karras et al., Alias-Free GANs (arXiv 2106.12423); Lee et al., BigVGAN (arXiv 2206.04658).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = 12
"""Length of the low-pass filter, in samples at twice the rate."""


def low_pass() -> list[float]:
    """Sinc at a quarter of the doubled rate under a Kaiser window: `TAPS` values, symmetric, their sum one."""
    attenuation = 2.285 * (TAPS // 2 - 1) * np.pi * 1.2 + 7.95  # dB; Kaiser's rule for a transition of 0.6 pi
    window = np.kaiser(TAPS, 0.1102 * (attenuation - 8.7))
    taps = window * np.sinc(0.5 * (np.arange(TAPS) - (TAPS - 1) / 2))
    return [float(tap) for tap in taps / taps.sum()]


_LOW_PASS = low_pass()
# Every second tap meets a sample when zeros are put between samples or every second result is dropped.
_FROM_FIRST, _FROM_SECOND = _LOW_PASS[0::2], _LOW_PASS[1::2]


class SmoothSnake(nn.Module):
    """x + sin(a x)^2 / b at twice the rate, ``a`` and ``b`` per channel and stored as logarithms.

    The doubled signal is kept as its even and its odd samples: both filters then are six shifted additions, several
    times faster than convolutions channel by channel.
    """

    def __init__(self, channels: int) -> None:
        """``channels`` is C."""
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] -> [B, C, L]."""
        length = x.shape[2]
        a, b = self.alpha.exp()[:, None], (1 / (self.beta.exp() + 1e-9))[:, None]
        padded = F.pad(x, (3, 3), mode="replicate")
        # Half of the doubled signal's samples are zeros before the filter: twice the gain makes up for it.
        even = _snake(_shifted_sum(padded[..., : length + 5], _FROM_SECOND, 2.0), a, b)
        odd = _snake(_shifted_sum(padded[..., 1:], _FROM_FIRST, 2.0), a, b)
        # The doubled signal's first sample is even and its last odd; they are repeated beyond its ends.
        first, last = even[..., :1], odd[..., -1:]
        even = torch.cat([first, first, even, last, last, last], -1)
        odd = torch.cat([first, first, first, odd, last, last], -1)
        # Both filters are symmetric, so running backwards over the taps is the same as swapping their halves.
        return _shifted_sum(even, _FROM_FIRST, 1.0).add_(_shifted_sum(odd, _FROM_SECOND, 1.0))


def _shifted_sum(x: Tensor, taps: list[float], gain: float) -> Tensor:
    """Sum over j of gain * taps[-1 - j] * x[i + j]: [B, C, L + 5] -> [B, C, L]."""
    length = x.shape[2] - len(taps) + 1
    out = x[..., :length] * (gain * taps[-1])
    for shift, tap in enumerate(reversed(taps[:-1]), 1):
        out.add_(x[..., shift : shift + length], alpha=gain * tap)
    return out


def _snake(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """In place: x + b sin(a x)^2."""
    return x.addcmul_((x * a).sin_().square_(), b)

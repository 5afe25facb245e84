"""Building blocks that several codecs' networks have: the LSTM with a shortcut, and the search in a codebook."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LstmState = tuple[Tensor, Tensor]


class SkipLstm(nn.Module):
    """Two layers of LSTM over the frames, added to their input: [B, D, T] -> [B, D, T], or 2 D if bidirectional.

    A bidirectional one adds the input to each direction's half of the output.
    """

    def __init__(self, width: int, *, bidirectional: bool = False) -> None:
        """``width`` is D."""
        super().__init__()
        self.lstm = nn.LSTM(width, width, 2, bidirectional=bidirectional, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, D, T] or [B, 2 D, T]."""
        return self.walk(x, None)[0]

    def walk(self, x: Tensor, state: LstmState | None) -> tuple[Tensor, LstmState]:
        """Do what `forward` does, from the ``state`` that the frames before ``x`` left; None begins."""
        frames, state = self.lstm(x.transpose(1, 2), state)
        out: Tensor = frames.transpose(1, 2)
        assert state is not None
        return out + x.repeat(1, out.shape[1] // x.shape[1], 1), state


def nearest(frames: Tensor, codebook: Tensor) -> Tensor:
    """Return the row of ``codebook`` float [V, D] nearest to each of ``frames`` float [N, D], the first of equals.

    Returns:
        int64 [N].
    """
    # |f - c|^2 = |f|^2 - 2 (f c - |c|^2 / 2); |f|^2 is the same for every row and would only cost precision.
    return torch.addmm(-0.5 * codebook.square().sum(1), frames, codebook.T).argmax(1)

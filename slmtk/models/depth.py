"""A transformer over the codes of one step: each head knows what the heads before it chose. Tokens -> codes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from transformers import Cache

from slmtk.models.decoders import small_decoder

LAYERS = 2


def depth_width(width: int) -> int:
    """A quarter of the backbone's, as in Moshi (1024 of 4096), in whole attention heads of 64."""
    return max(64, -(-width // 4) // 64 * 64)


class DepthTransformer(nn.Module):
    """The hidden state and the codes of heads < h -> what head h's linear layer reads.

    Place h of H holds the projected hidden state plus the embedding of the code of head h - 1. All places share the
    weights. Source: the depth transformers of RQ-Transformer (arXiv 2203.01941) and Moshi (arXiv 2410.00037).
    """

    def __init__(self, width: int, sizes: Sequence[int]) -> None:
        """``width`` D of the backbone; ``sizes`` rows of each of the H heads, ``<eosp>`` and ``<pad>`` included."""
        super().__init__()
        self.width = depth_width(width)
        self._offsets = [0, *accumulate(sizes[:-1])]
        self.project = nn.Linear(width, self.width)
        self.codes = nn.Embedding(sum(sizes), self.width)
        self.body = small_decoder(self.width, LAYERS)

    def forward(self, states: Tensor, targets: Tensor) -> Tensor:
        """Training: all places at once, each behind the true codes.

        Args:
            states: float [N, D].
            targets: int64 [N, H], rows of the heads.

        Returns:
            float [N, H, width].
        """
        if not len(states):
            # Attention cannot run over no rows, and a batch without speech needs its gradients (of 0) all the same.
            nobody: Tensor = self(states.new_zeros(1, states.shape[1]), targets.new_zeros(1, targets.shape[1]))
            return nobody[:0]
        offsets = torch.tensor(self._offsets[:-1], dtype=targets.dtype, device=targets.device)
        places = self.project(states)[:, None].expand(-1, targets.shape[1], -1)
        codes = self.codes(targets[:, :-1] + offsets)
        inputs = places + torch.cat([torch.zeros_like(places[:, :1]), codes.to(places.dtype)], dim=1)
        output: Tensor = self.body(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return output

    def step(self, states: Tensor, head: int, previous: Tensor | None, cache: Cache) -> Tensor:
        """Generation: one place.

        Args:
            states: float [B, D].
            head: the place, from 0, each in turn.
            previous: int64 [B], rows that head - 1 chose; None for head 0.
            cache: of this step alone, empty for head 0.

        Returns:
            float [B, width].
        """
        inputs = self.project(states)
        if previous is not None:
            inputs = inputs + self.codes(previous + self._offsets[head - 1]).to(inputs.dtype)
        outputs = self.body(inputs_embeds=inputs[:, None], past_key_values=cache, use_cache=True)
        output: Tensor = outputs.last_hidden_state[:, 0]
        return output

"""Scores of a step -> the codes nearest to the mean of all, in place of the likeliest ones. Tokens -> codes.

The heads of a step choose apart from each other. Where no code is likely, the best one of each head is another one from
frame to frame, and what is heard is rough. A mean is smooth, as what a regression predicts, and blurred where the model
hesitates between two sounds; a temperature below 1 brings it nearer to the best. Only a codec knows how codes sound,
and what several streams of a frame mean together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from slmtk.codecs.base import Codec
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError
from slmtk.layout import Layout

Average = Callable[[Tensor], Tensor]
"""`slmtk.codecs.base.Codec.average`."""


def average_of(codec: Codec) -> Average | None:
    """What ``codec`` averages with; None if it cannot."""
    return codec.average if codec.can_average else None


class MeanCodes:
    """What a codec averages, for the heads of one layout."""

    def __init__(
        self, layout: Layout, vocabulary: Vocabulary, heads_at_once: int, average: Average | None, device: torch.device
    ) -> None:
        """Take what is needed to know which head speaks for which stream.

        Raises:
            ConfigError: the model's heads have no codes of a whole frame at once, or nobody can average them.
        """
        if layout.kind != "grouped" or heads_at_once != layout.num_heads:
            raise ConfigError(
                f"--choose mean needs all codes of a frame at once, as linear and mlp heads of the grouped layout have "
                f"them; this model's layout is {layout.kind} with {heads_at_once} of {layout.num_heads} heads at a time"
            )
        if average is None:
            raise ConfigError("--choose mean needs a codec that knows which of its codes sound alike, such as world")
        self._average, self._streams = average, layout.num_codebooks
        streams = [layout.stream_of(head) for head in range(layout.num_heads)]
        frames = [range(first, first + self._streams) for first in range(0, layout.num_heads, self._streams)]
        order = [head for heads in frames for head in sorted(heads, key=streams.__getitem__)]
        self._order = torch.tensor(order, device=device)
        self._sizes = torch.tensor([vocabulary.spec.codebook_sizes[stream] for stream in streams], device=device)

    def choose(self, rows: Tensor, scores: Tensor, temperature: Tensor) -> Tensor:
        """Put the mean's codes in place of ``rows``, but for those that are no codes, such as ``<eosp>``.

        Args:
            rows: int64 [S, H], the best ones.
            scores: float [S, H, V].
            temperature: float [S, 1, 1].

        Returns:
            int64 [S, H].
        """
        size = int(self._sizes.max())
        scaled = scores[..., :size].float() / temperature
        scaled = scaled.masked_fill(torch.arange(size, device=scores.device) >= self._sizes[:, None], -torch.inf)
        frames = scaled.softmax(-1)[:, self._order].reshape(-1, self._streams, size)
        found = torch.empty_like(rows)
        found[:, self._order] = self._average(frames).view(len(rows), -1)
        return torch.where(rows < self._sizes, found, rows)

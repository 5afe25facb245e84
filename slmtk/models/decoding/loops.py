"""Noticing that speech says the same thing for ever. Part of tokens -> codes."""

from __future__ import annotations

import torch
from torch import Tensor


class LoopDetector:
    """Counts, for S slots, how long each one's steps have followed a pattern of 1, 2, ... P steps.

    A slot loops when its last ``length`` steps are one pattern of at most P steps, said again and again.
    """

    def __init__(self, slots: int, max_period: int, device: torch.device | str = "cpu") -> None:
        """``slots`` S; ``max_period`` P."""
        self._periods = torch.arange(1, max_period + 1, device=device)
        self._counts = torch.zeros(slots, max_period, dtype=torch.int64, device=device)
        self._slots = torch.arange(slots, device=device)[:, None]
        # Steps of a pattern that must have come again: the length less the pattern's first saying.
        self._wanted = torch.full((slots, max_period), torch.iinfo(torch.int64).max, device=device)
        self.active = [False] * slots

    def start(self, slot: int, length: int) -> None:
        """A new utterance speaks in ``slot``; ``length`` 0 never calls it a loop."""
        self._counts[slot] = 0
        self.active[slot] = length > 0
        never = torch.iinfo(torch.int64).max
        wanted = torch.where(self._periods < length, length - self._periods, never)
        self._wanted[slot] = wanted if length else never

    def update(self, history: Tensor, spoken: Tensor) -> Tensor:
        """Take notice of each slot's newest step.

        Args:
            history: int64 [S, N, H], the slots' steps.
            spoken: int64 [S], how many there are, one or more; what lies behind is not looked at.

        Returns:
            bool [S], who loops.
        """
        newest = history[self._slots, spoken[:, None] - 1]
        before = spoken[:, None] - 1 - self._periods
        same = (history[self._slots, before.clamp(min=0)] == newest).all(-1) & (before >= 0)
        self._counts = (self._counts + 1) * same
        return (self._counts >= self._wanted).any(-1)

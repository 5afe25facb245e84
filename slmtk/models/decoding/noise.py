"""Each utterance's own random numbers, laid side by side for a batch. Part of tokens -> codes."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Steps drawn at a time: one call for many steps, and an utterance's numbers do not depend on its neighbours'."""
DRAWS = 2
"""Numbers a head may need a step: to choose, and to choose again (repetition-aware sampling)."""


class Noise:
    """Uniform numbers for S slots of H heads; a slot's come from its utterance's generator, step by step."""

    def __init__(self, slots: int, heads: int, device: torch.device | str = "cpu") -> None:
        """``slots`` S, ``heads`` H."""
        self._blocks = torch.zeros(slots, BLOCK, heads, DRAWS, device=device)
        self._generators: list[torch.Generator | None] = [None] * slots
        self._taken = [0] * slots
        self._slots = torch.arange(slots, device=device)

    def start(self, slot: int, generator: torch.Generator) -> None:
        """A new utterance speaks in ``slot`` and draws from ``generator`` (of the CPU) from now on."""
        self._generators[slot] = generator
        self._taken[slot] = 0

    def stop(self, slot: int) -> None:
        """Nobody speaks in ``slot``."""
        self._generators[slot] = None

    def next(self, spoken: Tensor, speaking: list[int]) -> Tensor:
        """Numbers of the slots' next step.

        Args:
            spoken: int64 [S], steps of codes that each slot has said.
            speaking: the slots that take a step; the others' numbers mean nothing.

        Returns:
            float32 [S, H, 2] in [0, 1).
        """
        for slot in speaking:
            generator = self._generators[slot]
            if self._taken[slot] % BLOCK == 0 and generator is not None:
                # Drawn on the CPU whatever the device, so that a seed means the same everywhere.
                self._blocks[slot] = torch.rand(self._blocks.shape[1:], generator=generator)
            self._taken[slot] += 1
        return self._blocks[self._slots, spoken % BLOCK]

"""Watch the loss of every step without waiting for the device at every step: the trainer's alarm."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from slmtk.errors import SlmtkError

TOO_HIGH = 10.0
"""Times the running median: a step above it is a spike."""
SPIKES = 10
"""Spikes in a row that stop a run; a single bad batch does not."""
MEMORY = 100
"""Healthy steps whose median is the measure."""


class TrainingStoppedError(SlmtkError):
    """The loss is no longer a number, or has left its course."""


@dataclass(frozen=True)
class Trouble:
    """The first step of what went wrong.

    Attributes:
        step: optimiser step, from 1.
        what: a sentence's beginning, such as "the loss is nan".
        ids: utterances of this process's batches in that step.
    """

    step: int
    what: str
    ids: list[str]


class LossWatch:
    """Loss and gradient norm of the steps since the last look, on the device until then."""

    def __init__(self, warmup_steps: int) -> None:
        """Judge spikes after ``warmup_steps``: before, a loss may still move by itself."""
        self._warmup = warmup_steps
        self._steps: list[int] = []
        self._ids: list[list[list[str]]] = []
        self._losses: list[Tensor | float] = []
        self._norms: list[Tensor | float] = []
        self._healthy: deque[float] = deque(maxlen=MEMORY)
        self._spikes: list[Trouble] = []

    def begin(self, step: int, ids: list[list[str]]) -> None:
        """A step begins: its number, and for each of its batches the ids of the utterances in it."""
        self._steps.append(step)
        self._ids.append(ids)
        self._losses.append(0.0)
        self._norms.append(0.0)

    def add_loss(self, loss: Tensor) -> None:
        """Add a batch's part, float [], to the step's loss."""
        self._losses[-1] = self._losses[-1] + loss.detach()

    def set_norm(self, norm: Tensor | float) -> None:
        """Note the norm of the step's gradient before clipping."""
        self._norms[-1] = norm.detach() if isinstance(norm, Tensor) else norm

    def pending(self, device: torch.device) -> Tensor:
        """Losses and norms of the steps not yet looked at, float64 [2, steps]; losses are this process's part."""
        both = [
            torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device) for value in values])
            for values in (self._losses, self._norms)
            if values
        ]
        return torch.stack(both) if both else torch.zeros(2, 0, dtype=torch.float64, device=device)

    def look(self, losses: list[float], norms: list[float]) -> Trouble | None:
        """Judge the pending steps by their ``losses`` (of all processes) and ``norms``, and forget them."""
        found = None
        for step, ids, loss, norm in zip(self._steps, self._ids, losses, norms, strict=True):
            found = found or self._judge(step, [name for batch in ids for name in batch], loss, norm)
        self._steps, self._ids, self._losses, self._norms = [], [], [], []
        return found

    def _judge(self, step: int, ids: list[str], loss: float, norm: float) -> Trouble | None:
        if not math.isfinite(loss):
            return Trouble(step, f"the loss is {loss} at step {step}", ids)
        if not math.isfinite(norm):
            return Trouble(step, f"the gradient's norm is {norm} at step {step}", ids)
        usual = median(self._healthy) if self._healthy else math.inf
        if step <= self._warmup or loss <= TOO_HIGH * usual:
            self._healthy.append(loss)
            self._spikes.clear()
            return None
        what = f"the loss is {loss:.4g} at step {step}, where {usual:.4g} is usual, and stayed there for {SPIKES} steps"
        self._spikes.append(Trouble(step, what, ids))
        return self._spikes[0] if len(self._spikes) >= SPIKES else None

"""Scores -> one choice: greedy or random, with the usual filters. Part of tokens -> codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slmtk.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """How the next code is chosen, and when an utterance is given up."""

    temperature: float = 0.0
    """0 takes the best code every time (greedy)."""
    top_k: int = 0
    """Choose among the k best, 0 among all."""
    top_p: float = 1.0
    """Choose among the fewest best that together have this probability."""
    repetition_penalty: float | None = None
    """Scores of codes that the same head chose before are divided by it (multiplied where negative); None for the
    released setting of the model's layout: 1.2 for next-token prediction, 1.0 for multi-token prediction."""
    max_seconds: float = 20.0
    """Longer speech is cut and counted as a failure: no end."""
    loop_seconds: float = 2.0
    """So long a repetition of the same step is given up as a failure: loop. 0 switches the detector off."""
    max_text_tokens: int = 200
    """Longest answer text, in the backbone's tokens."""
    seed: int = 0
    """Of everything random; every utterance draws from its own generator."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: a value is out of its range.
        """
        penalty = 1.0 if self.repetition_penalty is None else self.repetition_penalty
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or penalty <= 0:
            raise ConfigError(
                "sampling needs temperature >= 0, top-k >= 0, 0 < top-p <= 1 and repetition penalty > 0; found "
                f"{self.temperature}, {self.top_k}, {self.top_p} and {penalty}"
            )
        if self.max_seconds <= 0 or self.loop_seconds < 0:
            raise ConfigError(
                f"max seconds {self.max_seconds} and loop seconds {self.loop_seconds} must not be negative"
            )


def penalize(scores: Tensor, chosen: Tensor, penalty: float) -> Tensor:
    """Lower the scores of what was chosen before: divided by ``penalty`` if >= 0, multiplied if negative.

    Args:
        scores: float [V].
        chosen: bool [V].
        penalty: 1 changes nothing.

    Returns:
        float [V]. Source: the CTRL paper's penalty, as transformers and the released models apply it.
    """
    if penalty == 1.0:
        return scores
    lowered = torch.where(scores >= 0, scores / penalty, scores * penalty)
    return torch.where(chosen, lowered, scores)


def choose(scores: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Choose an index of ``scores`` (float [V]); -inf is never chosen.

    Top-k is applied before top-p, on probabilities after the temperature.
    """
    if sampling.temperature == 0.0:
        return int(scores.argmax())
    scores = scores.float().cpu() / sampling.temperature
    if sampling.top_k and sampling.top_k < scores.numel():
        kept = scores.topk(sampling.top_k)
        scores = torch.full_like(scores, -torch.inf).scatter(0, kept.indices, kept.values)
    probabilities = scores.softmax(-1)
    if sampling.top_p < 1.0:
        ordered, indices = probabilities.sort(descending=True, stable=True)
        # A code is kept if those before it do not yet reach top-p: the first is always kept.
        keep = ordered.cumsum(-1) - ordered < sampling.top_p
        probabilities = torch.zeros_like(probabilities).scatter(0, indices[keep], ordered[keep])
    return int(torch.multinomial(probabilities, 1, generator=generator))

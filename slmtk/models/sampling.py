"""Scores -> choices: greedy or random, with the usual filters, for all heads of a batch at once. Tokens -> codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from slmtk.errors import ConfigError

REPETITION_RATIO = 0.1
"""Share of the window that a code may have before it is drawn again: t_r of VALL-E 2 (arXiv 2406.05370), whose window
K is 10. The paper draws again if the ratio *exceeds* t_r, as here: two of the last ten are too many. CosyVoice's
sampler, of the same name, draws again if the ratio reaches it."""


CHOICES = ("draw", "mean")
"""Ways to choose a code."""
_OWN = ("choose", "temperature")


@dataclass(frozen=True)
class Sampling:
    """How the next code is chosen, and when an utterance is given up."""

    temperature: float = 0.0
    """0 takes the best code every time (greedy)."""
    choose: str = ""
    """"draw" a code by its probability; or take the one nearest to the "mean" of all, each with its probability at the
    temperature, as the codec knows (`slmtk.codecs.base.Codec.average`), without the filters. "" is for a model's own
    choice, or "draw"."""
    top_k: int = 0
    """Choose among the k best, 0 among all."""
    top_p: float = 1.0
    """Choose among the fewest best that together have this probability."""
    min_p: float = 0.0
    """Choose among codes with at least this share of the best one's probability."""
    repetition_penalty: float | None = None
    """Scores of codes that the same head chose before are divided by it (multiplied where negative); None for the
    released setting of the model's layout: 1.2 for next-token prediction, 1.0 for multi-token prediction."""
    repetition_window: int = 0
    """Repetition-aware sampling (VALL-E 2): a code that makes up more than a tenth of its stream's last so many codes
    is drawn again, from all codes; 0 switches it off. Of several frames a step each counts those before it."""
    min_seconds: float = 0.0
    """Speech does not end before; 0 lets the model end it at any time."""
    max_seconds: float = 20.0
    """Longer speech is cut and counted as a failure: no end."""
    max_seconds_per_char: float = 0.0
    """Speech that is longer than this times the letters of its text is cut and counted as a failure: too long. 0
    switches it off."""
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
        if self.choose not in ("", *CHOICES):
            raise ConfigError(f"--choose {self.choose}: expected one of {', '.join(CHOICES)}")
        if self.choose == "mean" and (self.temperature == 0 or self.repetition_window):
            raise ConfigError(
                "--choose mean needs a --temperature above 0 (0.5 is usual) and no --repetition-window; found "
                f"{self.temperature} and {self.repetition_window}"
            )
        if not 0 <= self.min_p < 1 or self.repetition_window < 0:
            raise ConfigError(
                f"sampling needs 0 <= min-p < 1 and repetition window >= 0; found {self.min_p} and "
                f"{self.repetition_window}"
            )
        if self.max_seconds <= 0 or self.loop_seconds < 0 or self.max_seconds_per_char < 0:
            raise ConfigError(
                f"max seconds {self.max_seconds} must be positive, loop seconds {self.loop_seconds} and max seconds "
                f"per char {self.max_seconds_per_char} must not be negative"
            )
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise ConfigError(f"min seconds {self.min_seconds} must lie between 0 and max seconds, {self.max_seconds}")

    @property
    def is_random(self) -> bool:
        """Whether an utterance's seed can matter."""
        return self.draws or self.repetition_window > 0

    @property
    def draws(self) -> bool:
        """Whether codes are drawn: neither the best ones nor the mean's."""
        return self.temperature > 0 and self.choose != "mean"

    def own(self) -> dict[str, Any]:
        """What `or_own` takes from a model."""
        return {name: getattr(self, name) for name in _OWN}

    def or_own(self, own: Mapping[str, Any]) -> Sampling:
        """These settings, or with a model's own choice and temperature, where neither is asked for here.

        Raises:
            ConfigError: the model's own are out of range.
        """
        asked = self.choose or self.temperature or self.repetition_window
        return self if asked or not own else replace(self, **{name: own[name] for name in _OWN if name in own})


def penalize(scores: Tensor, chosen: Tensor, penalty: float | Tensor) -> Tensor:
    """Lower the scores of what was chosen before: divided by ``penalty`` if >= 0, multiplied if negative.

    Args:
        scores: float [..., V].
        chosen: bool [..., V].
        penalty: 1 changes nothing; or a tensor that spreads over the scores.

    Returns:
        float [..., V]. Source: the CTRL paper's penalty, as transformers and the released models apply it.
    """
    if isinstance(penalty, float) and penalty == 1.0:
        return scores
    lowered = torch.where(scores >= 0, scores / penalty, scores * penalty)
    return torch.where(chosen, lowered, scores)


class Chooser:
    """The sampling settings of S utterances side by side, each its own, which choose for all of them at once.

    Attributes:
        any_random: some utterance draws its codes.
        any_greedy: some utterance does not.
        any_window: some utterance draws repeated codes again.
        any_mean: some utterance wants the mean's codes, `slmtk.models.decoding.mean`; `choose` gives it the best ones.
        means: bool [S, 1], which do.
        temperature: float [S, 1, 1], 1 for greedy ones.
    """

    def __init__(self, settings: Sequence[Sampling], device: torch.device | str = "cpu") -> None:
        """``settings`` of the S utterances."""

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=device)[:, None, None]

        self.any_random = any(s.draws for s in settings)
        self.any_greedy = not all(s.draws for s in settings)
        self.any_mean = any(s.choose == "mean" for s in settings)
        self.any_window = any(s.repetition_window for s in settings)
        self._greedy = column([not s.draws for s in settings])
        self.means = column([s.choose == "mean" for s in settings])[..., 0]
        self.temperature = column([s.temperature or 1.0 for s in settings])
        ks = [s.top_k for s in settings if s.draws]
        self._most = max(ks, default=0) if all(ks) else 0  # sorting so many is enough; 0: all of them
        self._cuts_k, self._cuts_p = any(ks), any(s.top_p < 1 for s in settings if s.draws)
        self._cuts_low = any(s.min_p for s in settings if s.draws)
        self._top_k = column([s.top_k or torch.iinfo(torch.int64).max for s in settings])
        self._top_p = column([s.top_p if s.top_p < 1 else math.inf for s in settings])
        self._min_p = column([s.min_p for s in settings])
        self._repeats = column([s.repetition_window * REPETITION_RATIO or math.inf for s in settings])[..., 0]

    def choose(self, scores: Tensor, uniforms: Tensor | None, repeated: Tensor | None = None) -> Tensor:
        """Choose an index of each row of scores; -inf is never chosen.

        The order is temperature, top-k, top-p, min-p; the last two look at what top-k has left.

        Args:
            scores: float [S, H, V].
            uniforms: float [S, H, 2] in [0, 1): what is random about it. An index is where the sum of the probabilities
                passes the first; the second serves those that are drawn again. None will do if all are greedy and none
                is drawn again.
            repeated: int64 [S, H, W], each head's last choices, for repetition-aware sampling; other numbers than
                indices where there are none. None leaves it out.

        Returns:
            int64 [S, H].
        """
        if uniforms is None:
            return scores.argmax(-1)
        scaled = scores.float() / self.temperature
        rows = self._draw(scaled, uniforms[..., 0]) if self.any_random else scores.argmax(-1)
        if self.any_random and self.any_greedy:
            rows = torch.where(self._greedy[..., 0], scores.argmax(-1), rows)
        if repeated is None:
            return rows
        return self.again(rows, scores, uniforms, repeated)

    def again(self, rows: Tensor, scores: Tensor, uniforms: Tensor, repeated: Tensor) -> Tensor:
        """Draw again, from all indices, what makes up too much of the last choices.

        Args:
            rows: int64 [S, H], of `choose`.
            scores: float [S, H, V].
            uniforms: float [S, H, 2].
            repeated: int64 [S, H, W].

        Returns:
            int64 [S, H].
        """
        again = (repeated == rows[..., None]).sum(-1) > self._repeats
        if not again.any():
            return rows
        return torch.where(again, draw((scores.float() / self.temperature).softmax(-1), uniforms[..., 1]), rows)

    def _draw(self, scaled: Tensor, uniforms: Tensor) -> Tensor:
        if not (self._cuts_k or self._cuts_p):
            probabilities = scaled.softmax(-1)
            if self._cuts_low:
                low = probabilities < self._min_p * probabilities.amax(-1, keepdim=True)
                probabilities = probabilities.masked_fill(low, 0.0)
            return draw(probabilities, uniforms)
        size = scaled.shape[-1]
        best, indices = scaled.topk(min(self._most or size, size))
        if self._cuts_k:
            best = best.masked_fill(torch.arange(best.shape[-1], device=best.device) >= self._top_k, -torch.inf)
        probabilities = best.softmax(-1)
        # A code is kept if those before it do not yet reach top-p: the first is always kept.
        keep = (probabilities.cumsum(-1) - probabilities < self._top_p) & (
            probabilities >= self._min_p * probabilities[..., :1]
        )
        # Back in the codes' own order, so that a number means the same code however the batch's others are sampled.
        return draw(torch.zeros_like(scaled).scatter_(-1, indices, probabilities * keep), uniforms)


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Choose the index at which the running sum of ``weights`` passes ``uniforms`` of the whole.

    Args:
        weights: float32 [..., V], not negative, one of them at least positive.
        uniforms: float32 [...] in [0, 1), of 24 bits: their product with the sum then never rounds up to the sum.

    Returns:
        int64 [...]; an index of weight 0 is never chosen.
    """
    sums = weights.cumsum(-1)
    return torch.searchsorted(sums, (uniforms * sums[..., -1])[..., None], right=True)[..., 0]

"""What S utterances have said so far, and their next step of codes, all at once. Tokens -> codes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from slmtk.models.decoding.batch_requests import frames_of
from slmtk.models.decoding.batch_scores import StepEmbedding, make_heads
from slmtk.models.decoding.grammar import make_grammar
from slmtk.models.decoding.loops import LoopDetector
from slmtk.models.decoding.mean import Average, MeanCodes
from slmtk.models.decoding.noise import Noise
from slmtk.models.sampling import Chooser, Sampling, penalize
from slmtk.models.speech_lm import SpeechLM

ENDED, LOOPS = 1, 2
"""What a step's flags say: the speech has ended and the step is dropped; the speech says the same thing for ever."""

RELEASED_PENALTY = {"interleaved": 1.2}
"""Repetition penalties of the released decoding settings (METHOD), where none is given; 1.0 elsewhere."""


class SpeechSlots:
    """S places for utterances that speak; those in which nobody speaks are computed and mean nothing.

    The layout's rows stand for codes: of each head its own, in the interleaved layout those of the vocabulary.

    Attributes:
        said: steps of codes that each slot has.
    """

    def __init__(
        self, model: SpeechLM, slots: int, max_steps: int, sampling: Sampling, average: Average | None = None
    ) -> None:
        """Prepare.

        Args:
            model: in eval mode.
            slots: S.
            max_steps: of codes, at most.
            sampling: of most utterances: others cost a little.
            average: the codec's, for utterances that choose the mean's codes.

        Raises:
            ConfigError: the model, or its codec, cannot do what ``sampling`` asks for.
        """
        layout, device = model.layout, model.device
        self.said = [0] * slots
        self._layout, self._device = layout, device
        self._rate = model.vocabulary.spec.frame_rate
        self._heads = make_heads(model, slots)
        self._embed = StepEmbedding(model)
        self._grammar = make_grammar(layout, model.vocabulary, slots, device)
        self._loops = LoopDetector(slots, layout.num_codebooks, device)
        self._noise = Noise(slots, layout.num_heads, device)
        self._slots = torch.arange(slots, device=device)
        self._spoken = torch.zeros(slots, dtype=torch.int64, device=device)
        self._moving = torch.zeros(slots, dtype=torch.int64, device=device)
        self._speaking: list[int] = []
        self._history = torch.zeros(slots, max_steps + 1, layout.num_heads, dtype=torch.int64, device=device)
        self._samplings = [sampling] * slots
        self._vocabulary, self._average = model.vocabulary, average
        self._mean: MeanCodes | None = None
        self._penalized: Tensor | None = None  # bool [S, H, V], what each head has chosen before
        self._penalty: Tensor | None = None  # float [S, 1, 1]
        self._recent: Tensor | None = None  # int64 [S, streams, W], each stream's last choices, the newest last
        self._prepare()

    def start(self, slot: int, sampling: Sampling, generator: torch.Generator) -> None:
        """A new utterance speaks in ``slot``."""
        self.said[slot] = 0
        self._spoken[slot] = 0
        self._grammar.start(slot, frames_of(sampling.min_seconds, self._rate))
        steps_a_second = self._layout.steps_per_second(self._rate)
        self._loops.start(slot, int(sampling.loop_seconds * steps_a_second))
        self._noise.start(slot, generator)
        self._speaking = sorted({*self._speaking, slot})
        self._moving[slot] = 1
        if replace(sampling, seed=0) != replace(self._samplings[slot], seed=0):
            self._samplings[slot] = sampling
            self._prepare()
        if self._penalized is not None:
            self._penalized[slot] = False
        if self._recent is not None:
            self._recent[slot] = -1

    def stop(self, slot: int) -> None:
        """Nobody speaks in ``slot`` any more; its steps may still be read."""
        self._speaking.remove(slot)
        self._moving[slot] = 0
        self._loops.start(slot, 0)
        self._noise.stop(slot)

    @property
    def speaking(self) -> list[int]:
        """The slots in which somebody speaks."""
        return list(self._speaking)

    def steps(self, slot: int, first: int = 0) -> Tensor:
        """What ``slot`` has said from step ``first`` on: int64 [N, H] on the CPU, `slmtk.layout.MISSING` in it."""
        return self._history[slot, first : self.said[slot]].cpu()

    def step(self, states: Tensor) -> tuple[Tensor, list[int]]:
        """Choose the next step of every slot.

        Args:
            states: float [S, D], what speech heads read.

        Returns:
            what is fed back, float [S, D], and for each slot flags: `ENDED`, `LOOPS`.
        """
        random = self._chooser.any_random or self._chooser.any_window
        uniforms = self._noise.next(self._spoken, self._speaking) if random else None
        rows = self._choose(states, uniforms)
        if self._penalized is not None:
            self._penalized.scatter_(2, rows[..., None], True)
        if self._recent is not None:
            self._recent = torch.cat([self._recent, self._by_stream(rows)], dim=2)[..., -self._recent.shape[2] :]
        codes, ids, ended = self._grammar.close(rows, self._spoken)
        self._history[self._slots, self._spoken] = codes
        flags = ended.to(torch.uint8) * ENDED
        self._spoken += self._moving
        if any(self._loops.active):
            flags = flags + self._loops.update(self._history, self._spoken).to(torch.uint8) * LOOPS
        listed: list[int] = flags.tolist()
        for slot in self._speaking:
            self.said[slot] += not listed[slot] & ENDED
        return self._embed(ids), listed

    def _choose(self, states: Tensor, uniforms: Tensor | None) -> Tensor:
        """Settled choices of all heads, int64 [S, H]."""
        chosen: list[Tensor] = []
        every = self._heads.at_once
        for first in range(0, self._layout.num_heads, every):
            heads = slice(first, first + every)
            scores = self._heads.scores(states, first, chosen[-1][:, -1] if chosen else None)
            if self._penalty is not None and self._penalized is not None:
                scores = penalize(scores, self._penalized[:, heads], self._penalty)
            scores = self._grammar.restrict(scores, first, self._spoken)
            drawn = None if uniforms is None else uniforms[:, heads]
            rows = self._chooser.choose(scores, drawn)
            if self._mean is not None and self._chooser.any_mean:
                mean = self._mean.choose(rows, scores, self._chooser.temperature)
                rows = torch.where(self._chooser.means, mean, rows)
            if self._recent is not None and drawn is not None:
                rows = self._draw_again(rows, scores, drawn, torch.cat(chosen, dim=1) if chosen else rows[:, :0])
            chosen.append(self._grammar.settle(rows, first, self._spoken))
        return chosen[0] if len(chosen) == 1 else torch.cat(chosen, dim=1)

    def _draw_again(self, rows: Tensor, scores: Tensor, uniforms: Tensor, before: Tensor) -> Tensor:
        """Repetition-aware sampling, frame by frame, since a frame counts the codes of those before it in its step.

        Args:
            rows: int64 [S, n], first choices of n heads: all, or one.
            scores: float [S, n, V].
            uniforms: float [S, n, 2].
            before: int64 [S, m], choices of the heads before them.
        """
        settled = before
        for first in range(0, rows.shape[1], self._streams):
            heads = slice(first, first + self._streams)
            repeated = self._repeated(settled, min(self._streams, rows.shape[1]))
            new = self._chooser.again(rows[:, heads], scores[:, heads], uniforms[:, heads], repeated)
            settled = torch.cat([settled, new], dim=1)
        return settled[:, before.shape[1] :]

    def _repeated(self, before: Tensor, count: int) -> Tensor:
        """What counts as the last choices of the ``count`` heads behind ``before``; -1 where there are none."""
        assert self._recent is not None
        frames, place = divmod(before.shape[1], self._streams)
        own = self._by_stream(before[:, : frames * self._streams])
        recent = torch.cat([self._recent, own], dim=2)[:, place : place + count, -self._recent.shape[2] :]
        age = torch.arange(recent.shape[2] - 1, -1, -1, device=self._device)
        return recent.masked_fill(age >= self._windows, -1)

    def _by_stream(self, rows: Tensor) -> Tensor:
        """Choices of the heads of whole frames, int64 [S, frames * streams] -> [S, streams, frames]."""
        return rows.reshape(len(rows), rows.shape[1] // self._streams, self._streams).transpose(1, 2)

    def _prepare(self) -> None:
        """Lay the slots' settings side by side; memories that are needed for the first time begin empty."""
        self._chooser = Chooser(self._samplings, self._device)
        if self._chooser.any_mean and self._mean is None:
            self._mean = MeanCodes(self._layout, self._vocabulary, self._heads.at_once, self._average, self._device)
        shape = (len(self.said), self._layout.num_heads)
        self._streams = self._layout.num_heads // self._layout.frames_per_step
        penalties = [self._penalty_of(sampling) for sampling in self._samplings]
        self._penalty = None
        if any(penalty != 1.0 for penalty in penalties):
            self._penalty = torch.tensor(penalties, device=self._device)[:, None, None]
            if self._penalized is None:
                self._penalized = torch.zeros(*shape, self._heads.rows, dtype=torch.bool, device=self._device)
        # An interleaved stream's choices are every K-th; the others' rows cannot be mistaken for its own.
        between = self._layout.num_codebooks if self._layout.kind == "interleaved" else 1
        windows = [sampling.repetition_window * between for sampling in self._samplings]
        self._windows = torch.tensor(windows, device=self._device)[:, None, None]
        if max(windows) > (0 if self._recent is None else self._recent.shape[2]):
            recent = torch.full((len(self.said), self._streams, max(windows)), -1, device=self._device)
            if self._recent is not None:
                recent[..., -self._recent.shape[2] :] = self._recent
            self._recent = recent

    def _penalty_of(self, sampling: Sampling) -> float:
        if sampling.repetition_penalty is not None:
            return sampling.repetition_penalty
        return RELEASED_PENALTY.get(self._layout.kind, 1.0)

"""Which codes may come next, and what a step's choices mean, for a batch of utterances. Tokens -> codes.

Rules of the grouped layout, as in the authors' released models: any head that chooses ``<eosp>`` ends the speech and
the step is dropped; frames from the first ``<pad>`` on are dropped, and the speech goes on. In the delayed layout the
first place alone says that there are no more frames; the later places then say what they still owe. In the interleaved
layout a code comes from the stream whose turn it is, and the speech ends between frames.

Letters: S utterances, H heads, V rows of the longest head. What a slot without speech says means nothing here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from slmtk.data.vocabulary import Vocabulary
from slmtk.layout import MISSING, Layout


class Grammar(ABC):
    """The rules of one layout, and what they need to know of S utterances."""

    def __init__(self, layout: Layout, vocabulary: Vocabulary, slots: int, device: torch.device | str) -> None:
        """``slots`` S."""
        self._min_frames = torch.zeros(slots, dtype=torch.int64, device=device)
        self._wait = [0] * slots

    def start(self, slot: int, min_frames: int) -> None:
        """A new utterance speaks in ``slot``, which may not end before it has ``min_frames``."""
        self._wait[slot] = min_frames
        self._min_frames[slot] = min_frames

    @property
    def _someone_waits(self) -> bool:
        return any(self._wait)

    @abstractmethod
    def restrict(self, scores: Tensor, first: int, spoken: Tensor) -> Tensor:
        """Rule out what may not come.

        Args:
            scores: float [S, h, V], of the heads from ``first`` on.
            first: head.
            spoken: int64 [S], steps before this one.

        Returns:
            float [S, h, V] with -inf there.
        """

    def settle(self, rows: Tensor, first: int, spoken: Tensor) -> Tensor:
        """Put in place of the heads' choices what has to stand there: int64 [S, h] -> the same."""
        return rows

    @abstractmethod
    def close(self, rows: Tensor, spoken: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """End a step.

        Args:
            rows: int64 [S, H], settled choices of all heads.
            spoken: int64 [S].

        Returns:
            codes int64 [S, H] with `MISSING` where there are none; what is fed back, as ids [S, H]; and bool [S], whose
            speech has ended, which drops their step.
        """


class _Stepwise(Grammar):
    """What the layouts with a head for each place have in common."""

    def __init__(self, layout: Layout, vocabulary: Vocabulary, slots: int, device: torch.device | str) -> None:
        super().__init__(layout, vocabulary, slots, device)
        streams = [layout.stream_of(head) for head in range(layout.num_heads)]
        sizes = vocabulary.spec.codebook_sizes
        self._ends = torch.tensor([sizes[stream] for stream in streams], device=device)
        self._offsets = torch.tensor([vocabulary.code_offset(stream) for stream in streams], device=device)
        self._pad = vocabulary.pad
        row = torch.arange(max(sizes[stream] for stream in streams) + 2, device=device)
        self._is_end = row == self._ends[:, None]
        self._is_no_code = row >= self._ends[:, None]

    def _fed(self, codes: Tensor) -> Tensor:
        return torch.where(codes == MISSING, self._pad, codes + self._offsets)


class GroupedGrammar(_Stepwise):
    """All codes of g frames a step."""

    def __init__(self, layout: Layout, vocabulary: Vocabulary, slots: int, device: torch.device | str) -> None:
        """``slots`` S."""
        super().__init__(layout, vocabulary, slots, device)
        self._places, self._frames_per_step = layout.num_codebooks, layout.frames_per_step
        self._said = torch.zeros(slots, dtype=torch.int64, device=device)
        self._over = torch.zeros(slots, 1, dtype=torch.bool, device=device)

    def start(self, slot: int, min_frames: int) -> None:
        """See `Grammar.start`."""
        super().start(slot, min_frames)
        self._said[slot] = 0

    def restrict(self, scores: Tensor, first: int, spoken: Tensor) -> Tensor:
        """See `Grammar.restrict`."""
        if not self._someone_waits:
            return scores
        ends = self._is_end[first : first + scores.shape[1], : scores.shape[2]]
        return scores.masked_fill(ends & (self._said < self._min_frames)[:, None, None], -torch.inf)

    def settle(self, rows: Tensor, first: int, spoken: Tensor) -> Tensor:
        """See `Grammar.settle`: heads that know the choices before theirs read ``<pad>`` from the first one on."""
        if rows.shape[1] > 1:
            return rows
        over = self._over & (first > 0)
        self._over = over | (rows > self._ends[first])
        return torch.where(over, self._ends[first] + 1, rows)

    def close(self, rows: Tensor, spoken: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Grammar.close`."""
        ended = (rows == self._ends).any(1)
        if self._frames_per_step == 1:
            self._said += 1
            return rows, rows + self._offsets, ended
        absent = rows > self._ends
        if rows.device.type == "cpu" and not absent.any():  # as nearly always; on a GPU it would have to be waited for
            self._said += self._frames_per_step
            return rows, rows + self._offsets, ended
        missing = absent.view(len(rows), self._frames_per_step, self._places).any(2)
        # From the first frame that is not there on, none is.
        missing = missing.cumsum(1) > 0
        self._said += self._frames_per_step - missing.sum(1)
        codes = rows.masked_fill(missing.repeat_interleave(self._places, dim=1), MISSING)
        return codes, self._fed(codes), ended


class DelayedGrammar(_Stepwise):
    """A code of every stream a step, each a frame later than the one before it."""

    def __init__(self, layout: Layout, vocabulary: Vocabulary, slots: int, device: torch.device | str) -> None:
        """``slots`` S."""
        super().__init__(layout, vocabulary, slots, device)
        self._delays = torch.arange(layout.num_codebooks, device=device)
        self._frames = torch.full((slots,), -1, device=device)  # once the first place has said that they end
        self._owed = self._is_no_code.clone()
        self._owed[0] = False

    def start(self, slot: int, min_frames: int) -> None:
        """See `Grammar.start`."""
        super().start(slot, min_frames)
        self._frames[slot] = -1

    def restrict(self, scores: Tensor, first: int, spoken: Tensor) -> Tensor:
        """See `Grammar.restrict`; places after the first owe a code, so that the speech is whole when it ends."""
        heads, rows = slice(first, first + scores.shape[1]), slice(scores.shape[2])
        scores = scores.masked_fill(self._owed[heads, rows], -torch.inf)
        if first == 0 and self._someone_waits:
            early = self._is_no_code[heads, rows] & (spoken < self._min_frames)[:, None, None]
            scores = scores.masked_fill(early, -torch.inf)
        return scores

    def settle(self, rows: Tensor, first: int, spoken: Tensor) -> Tensor:
        """See `Grammar.settle`: ``<pad>`` before a stream's first frame and behind its last."""
        if first == 0:
            ends = (rows[:, 0] >= self._ends[0]) & (self._frames < 0)
            self._frames = torch.where(ends, spoken, self._frames)
        heads = slice(first, first + rows.shape[1])
        frame, frames = spoken[:, None] - self._delays[heads], self._frames[:, None]
        absent = (frame < 0) | ((frames >= 0) & (frame >= frames))
        return torch.where(absent, self._ends[heads] + 1, rows)

    def close(self, rows: Tensor, spoken: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Grammar.close`."""
        steps = torch.where(self._frames > 0, self._frames + len(self._delays) - 1, 0)
        codes = torch.where(rows >= self._ends, MISSING, rows)
        return codes, self._fed(codes), (self._frames >= 0) & (spoken >= steps)


class InterleavedGrammar(Grammar):
    """One code a step: a row is a code of one of the streams, in the vocabulary's order, or, the last, ``<eosp>``."""

    def __init__(self, layout: Layout, vocabulary: Vocabulary, slots: int, device: torch.device | str) -> None:
        """``slots`` S."""
        super().__init__(layout, vocabulary, slots, device)
        sizes, streams = vocabulary.spec.codebook_sizes, layout.streams
        self._first_code = vocabulary.first_code
        self._end = sum(sizes)
        offsets = [vocabulary.code_offset(stream) - vocabulary.first_code for stream in streams]
        self._offsets = torch.tensor(offsets, device=device)
        self._places = len(streams)
        self._forbidden = torch.ones(len(streams), 1, self._end + 1, dtype=torch.bool, device=device)
        for place, stream in enumerate(streams):
            self._forbidden[place, 0, offsets[place] : offsets[place] + sizes[stream]] = False
        # A frame is whole before the speech may end: success never depends on luck.
        self._forbidden[0, 0, self._end] = False

    def restrict(self, scores: Tensor, first: int, spoken: Tensor) -> Tensor:
        """See `Grammar.restrict`."""
        scores = scores.masked_fill(self._forbidden[spoken % self._places], -torch.inf)
        if self._someone_waits:
            early = spoken < self._min_frames * self._places
            scores[..., self._end] = scores[..., self._end].masked_fill(early[:, None], -torch.inf)
        return scores

    def close(self, rows: Tensor, spoken: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Grammar.close`."""
        codes = rows - self._offsets[spoken % self._places, None]
        return codes, rows + self._first_code, rows[:, 0] == self._end


GRAMMARS: Mapping[str, Callable[[Layout, Vocabulary, int, torch.device | str], Grammar]] = {
    "grouped": GroupedGrammar,
    "delayed": DelayedGrammar,
    "interleaved": InterleavedGrammar,
}


def make_grammar(layout: Layout, vocabulary: Vocabulary, slots: int, device: torch.device | str = "cpu") -> Grammar:
    """The rules of ``layout`` for ``slots`` utterances."""
    return GRAMMARS[layout.kind](layout, vocabulary, slots, device)

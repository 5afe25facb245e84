"""Codes [K, T] <-> model steps [N, H]: who is predicted together, on the way codes -> tokens -> codes.

Three layouts of the same codes, here for streams a, b, c. *Interleaved* (next-token prediction): one code a step, a1 b1
c1 a2 b2 c2 ... *Grouped* (multi-token prediction): the H = K * g codes of g consecutive frames a step, in the order
a1 b1 c1 a2 b2 c2 ... within the step. *Delayed*: a code of every stream a step, stream k's k frames late: a1 - -, a2 b1
-, a3 b2 c1, ... Sources: METHOD of "What Makes a Good Speech Tokenizer for LLM-Centric Speech Generation?" (AAAI 2026);
for the delayed layout MusicGen (arXiv 2306.05284).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slmtk.errors import ConfigError, ShapeError

MISSING = -1
"""Stands where a step has room for a code of a frame that is not there; the vocabulary has a token for it."""

KINDS = ("interleaved", "grouped", "delayed")


@dataclass(frozen=True)
class Layout:
    """How streams become steps.

    Attributes:
        kind: "interleaved" (one code a step), "grouped" (all codes of g frames a step) or "delayed" (a code of each
            stream a step, each stream a frame later than the one before it).
        num_codebooks: K.
        frames_per_step: g; 1 unless the layout is grouped.
        order: which stream stands at place 0, 1, ... K - 1 of a frame; None for the codec's own order.
    """

    kind: str
    num_codebooks: int
    frames_per_step: int = 1
    order: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: unknown kind, or sizes or an order that do not go together.
        """
        if self.kind not in KINDS:
            raise ConfigError(f"layout {self.kind!r} is unknown; expected one of {', '.join(KINDS)}")
        if self.num_codebooks < 1 or self.frames_per_step < 1:
            raise ConfigError(f"a layout needs at least one codebook and one frame a step, not {self}")
        if self.kind != "grouped" and self.frames_per_step != 1:
            raise ConfigError(f"the {self.kind} layout has 1 frame a step, not {self.frames_per_step}")
        if self.order is not None and sorted(self.order) != list(range(self.num_codebooks)):
            raise ConfigError(
                f"stream order {list(self.order)} is no order of {self.num_codebooks} streams; "
                f"expected each of 0 to {self.num_codebooks - 1} once"
            )

    @property
    def streams(self) -> tuple[int, ...]:
        """The stream at each of a frame's K places."""
        return tuple(range(self.num_codebooks)) if self.order is None else self.order

    @property
    def num_heads(self) -> int:
        """H: codes that one step predicts."""
        return 1 if self.kind == "interleaved" else self.num_codebooks * self.frames_per_step

    def num_steps(self, num_frames: int) -> int:
        """Steps that hold ``num_frames`` frames."""
        if self.kind == "interleaved":
            return num_frames * self.num_codebooks
        if self.kind == "delayed":
            return num_frames + self.num_codebooks - 1 if num_frames else 0
        return -(-num_frames // self.frames_per_step)

    def steps_per_second(self, frame_rate: float) -> float:
        """Model steps per second of speech, in Hz, for a codec of ``frame_rate`` Hz; a delay's few steps apart."""
        return frame_rate * self.num_codebooks if self.kind == "interleaved" else frame_rate / self.frames_per_step

    def stream_of(self, head: int, step: int = 0) -> int:
        """Return the stream (row of K) that ``head`` predicts at ``step``."""
        return self.streams[(step if self.kind == "interleaved" else head) % self.num_codebooks]

    def frame_in_step(self, head: int) -> int:
        """Which of the step's g frames ``head`` predicts, from 0."""
        return head // self.num_codebooks if self.kind == "grouped" else 0

    def delay_of(self, head: int) -> int:
        """How many frames late ``head``'s codes come: its place in the delayed layout, else 0."""
        return head if self.kind == "delayed" else 0

    def may_miss(self, head: int) -> bool:
        """Whether `MISSING` can stand at ``head``, which then has a row for it behind that of the speech's end."""
        return self.kind == "delayed" or self.frame_in_step(head) > 0


def to_steps(codes: Tensor, layout: Layout) -> Tensor:
    """Arrange codes as steps.

    Args:
        codes: int64 [K, T], streams in the codec's order.

    Returns:
        int64 [N, H], `MISSING` where a step has room for a frame before the first or beyond the last.

    Raises:
        ShapeError: K is not the layout's.
    """
    if codes.ndim != 2 or codes.shape[0] != layout.num_codebooks:
        raise ShapeError(f"codes are {list(codes.shape)}; the layout takes [{layout.num_codebooks}, T]")
    frames = codes[list(layout.streams)].T
    if layout.kind == "interleaved":
        return frames.reshape(-1, 1)
    if layout.kind == "delayed":
        steps = frames.new_full((layout.num_steps(len(frames)), layout.num_codebooks), MISSING)
        for place in range(layout.num_codebooks):
            steps[place : place + len(frames), place] = frames[:, place]
        return steps
    missing = -len(frames) % layout.frames_per_step
    if missing:
        frames = torch.cat([frames, frames.new_full((missing, layout.num_codebooks), MISSING)])
    return frames.reshape(-1, layout.num_heads)


def from_steps(steps: Tensor, layout: Layout) -> Tensor:
    """Inverse of `to_steps`: int64 [N, H] -> int64 [K, T]; frames in which any code is `MISSING` are left out.

    Delayed steps that were cut short give the frames that are whole.

    Raises:
        ShapeError: H is not the layout's, or interleaved steps end within a frame.
    """
    if steps.ndim != 2 or steps.shape[1] != layout.num_heads:
        raise ShapeError(f"steps are {list(steps.shape)}; the layout has [N, {layout.num_heads}]")
    if layout.kind == "delayed":
        count = max(0, len(steps) - layout.num_codebooks + 1)
        frames = torch.stack([steps[place : place + count, place] for place in range(layout.num_codebooks)], dim=1)
    elif steps.numel() % layout.num_codebooks:
        raise ShapeError(f"{steps.numel()} codes are not a whole number of {layout.num_codebooks}-code frames")
    else:
        frames = steps.reshape(-1, layout.num_codebooks)
    whole = frames[(frames != MISSING).all(dim=1)].T
    codes = torch.empty_like(whole)
    codes[list(layout.streams)] = whole
    return codes.contiguous()

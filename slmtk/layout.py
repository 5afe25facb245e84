"""Codes [K, T] <-> model steps [N, H]: who is predicted together, on the way codes -> tokens -> codes.

Two layouts of the same codes. *Interleaved* (next-token prediction): one code a step, a1 b1 c1 a2 b2 c2 ... *Grouped*
(multi-token prediction): the H = K * g codes of g consecutive frames a step, in the order a1 b1 c1 a2 b2 c2 ... within
the step. Source: METHOD of "What Makes a Good Speech Tokenizer for LLM-Centric Speech Generation?" (AAAI 2026).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slmtk.errors import ConfigError, ShapeError

MISSING = -1
"""Stands in a group's frames beyond the end of the utterance; the vocabulary has a token for it."""

KINDS = ("interleaved", "grouped")


@dataclass(frozen=True)
class Layout:
    """How streams become steps.

    Attributes:
        kind: "interleaved" (one code a step) or "grouped" (all codes of g frames a step).
        num_codebooks: K.
        frames_per_step: g; 1 in the interleaved layout, which has less than a frame a step.
    """

    kind: str
    num_codebooks: int
    frames_per_step: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: unknown kind, or sizes that do not go together.
        """
        if self.kind not in KINDS:
            raise ConfigError(f"layout {self.kind!r} is unknown; expected one of {', '.join(KINDS)}")
        if self.num_codebooks < 1 or self.frames_per_step < 1:
            raise ConfigError(f"a layout needs at least one codebook and one frame a step, not {self}")
        if self.kind == "interleaved" and self.frames_per_step != 1:
            raise ConfigError(f"the interleaved layout has 1 frame a step, not {self.frames_per_step}")

    @property
    def num_heads(self) -> int:
        """H: codes that one step predicts."""
        return 1 if self.kind == "interleaved" else self.num_codebooks * self.frames_per_step

    def num_steps(self, num_frames: int) -> int:
        """Steps that hold ``num_frames`` frames."""
        if self.kind == "interleaved":
            return num_frames * self.num_codebooks
        return -(-num_frames // self.frames_per_step)

    def steps_per_second(self, frame_rate: float) -> float:
        """Model steps per second of speech, in Hz, for a codec of ``frame_rate`` Hz."""
        return frame_rate * self.num_codebooks if self.kind == "interleaved" else frame_rate / self.frames_per_step

    def stream_of(self, head: int, step: int = 0) -> int:
        """Return the stream (row of K) that ``head`` predicts at ``step``."""
        return (step if self.kind == "interleaved" else head) % self.num_codebooks

    def frame_in_step(self, head: int) -> int:
        """Which of the step's g frames ``head`` predicts, from 0."""
        return 0 if self.kind == "interleaved" else head // self.num_codebooks


def to_steps(codes: Tensor, layout: Layout) -> Tensor:
    """Arrange codes as steps.

    Args:
        codes: int64 [K, T].

    Returns:
        int64 [N, H], `MISSING` where the last step has frames beyond T.

    Raises:
        ShapeError: K is not the layout's.
    """
    if codes.ndim != 2 or codes.shape[0] != layout.num_codebooks:
        raise ShapeError(f"codes are {list(codes.shape)}; the layout takes [{layout.num_codebooks}, T]")
    frames = codes.T
    if layout.kind == "interleaved":
        return frames.reshape(-1, 1)
    missing = -len(frames) % layout.frames_per_step
    if missing:
        frames = torch.cat([frames, frames.new_full((missing, layout.num_codebooks), MISSING)])
    return frames.reshape(-1, layout.num_heads)


def from_steps(steps: Tensor, layout: Layout) -> Tensor:
    """Inverse of `to_steps`: int64 [N, H] -> int64 [K, T]; frames in which any code is `MISSING` are left out.

    Raises:
        ShapeError: H is not the layout's, or interleaved steps end within a frame.
    """
    if steps.ndim != 2 or steps.shape[1] != layout.num_heads:
        raise ShapeError(f"steps are {list(steps.shape)}; the layout has [N, {layout.num_heads}]")
    if steps.numel() % layout.num_codebooks:
        raise ShapeError(f"{steps.numel()} codes are not a whole number of {layout.num_codebooks}-code frames")
    frames = steps.reshape(-1, layout.num_codebooks)
    return frames[(frames != MISSING).all(dim=1)].T.contiguous()

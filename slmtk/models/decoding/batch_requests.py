"""What batched generation is asked and what it answers. Tokens -> codes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slmtk.layout import Layout
from slmtk.models.sampling import Sampling


@dataclass
class Request:
    """One utterance to be spoken.

    Attributes:
        prefix: ids, `slmtk.data.prompts.prefix`, or int64 [L, H] where there are codes among them; speech begins at
            once if the last one is ``<sosp>``, else the model writes text until it emits ``<sosp>``.
        placeholder: index in ``prefix`` that the speaker's vector replaces; None if there is none.
        speaker: float32 [D].
        sampling: how codes are chosen; text is always the model's best. Its ``seed`` is not looked at.
        seed: of this utterance alone.
        max_steps: of codes; 0 for what ``sampling.max_seconds`` allows.
        task: for who asks; generation looks at the prefix alone.
        text_length: letters that are read, for ``sampling.max_seconds_per_char``; 0 if nobody knows: no such limit.
        generator: draws in place of one made from ``seed``; of the CPU.
    """

    prefix: list[int] | Tensor
    placeholder: int | None = None
    speaker: Tensor | None = None
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    max_steps: int = 0
    task: str = "tts"
    text_length: int = 0
    generator: torch.Generator | None = None

    def limit(self, layout: Layout, frame_rate: float) -> tuple[int, str]:
        """Return the most steps of codes, and the reason to give when they are reached."""
        steps = self.max_steps or steps_of(self.sampling.max_seconds, layout, frame_rate)
        if self.sampling.max_seconds_per_char and self.text_length:
            by_text = steps_of(self.sampling.max_seconds_per_char * self.text_length, layout, frame_rate)
            if by_text < steps:
                return by_text, "too_long"
        return steps, "no_end"


@dataclass
class Generated:
    """What came of one prompt.

    Attributes:
        text_ids: what the model wrote before ``<sosp>``.
        codes: int64 [K, T].
        reason: "" if the speech ended by itself and is whole, else "no_end", "too_long", "loop", "empty" or
            "no_speech".
        steps: of the model: text tokens and steps of codes, the prompt not counted.
        first_step_seconds: from the start to the first step of codes; None if there was none.
        seconds: from the start to the end. In a batch others are spoken in the same time.
    """

    text_ids: list[int] = field(default_factory=list)
    codes: Tensor | None = None
    reason: str = ""
    steps: int = 0
    first_step_seconds: float | None = None
    seconds: float = 0.0


@dataclass
class StreamStep:
    """A piece of speech while it is generated.

    Attributes:
        codes: int64 [K, n], the frames that have become complete; n is 0 in the last piece alone.
        result: None but in the last piece, which has the whole result: its codes are all that came before, joined.
    """

    codes: Tensor
    result: Generated | None = None


def steps_of(seconds: float, layout: Layout, frame_rate: float) -> int:
    """Steps that ``seconds`` of speech have at most, 1 or more; a delayed layout's late codes included."""
    steps = max(1, int(seconds * layout.steps_per_second(frame_rate)))
    return layout.num_steps(steps) if layout.kind == "delayed" else steps


def frames_of(seconds: float, frame_rate: float) -> int:
    """The fewest frames that last ``seconds``."""
    return math.ceil(seconds * frame_rate)

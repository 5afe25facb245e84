"""Embeddings of one position -> what text and heads read there, for several utterances at once. Tokens -> codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from slmtk.errors import ShapeError
from slmtk.models.decoding.cache import Places
from slmtk.models.decoding.check import why_not
from slmtk.models.decoding.graphs import GraphedStep
from slmtk.models.decoding.llama import LlamaStack
from slmtk.models.decoding.plain import PlainStack
from slmtk.models.speech_lm import SpeechLM

COMPILE = ("auto", "off")
"""Whether a step on a GPU is recorded as a CUDA graph; on a CPU there is nothing to choose."""


class Stack(Protocol):
    """Causal layers with a memory of what each slot has read."""

    def prefill(self, slots: Sequence[int], inputs: Sequence[Tensor]) -> list[Tensor]:
        """Forget what ``slots`` hold and read float [L_i, D] into each; returns float [L_i, D] each."""

    def step(self, inputs: Tensor, places: Places) -> Tensor:
        """Read a position in every slot: float [S, D] -> float [S, D]."""

    def release(self, slots: Iterable[int]) -> None:
        """Forget what ``slots`` hold."""


class StepBackbone:
    """A speech language model's backbone (and transformer head, where it has one) for generation, position by position.

    A slot is a place for an utterance; all of them go on by one position with every `step`, whatever their lengths. A
    slot that holds no utterance is computed and ignored. Architectures built like Llama run on their own weights
    without transformers' modules (`LlamaStack`), any other through transformers (`PlainStack`).

    The weights are read when this object is made: make a new one after the model has changed.

    Attributes:
        reason: why transformers' modules run, in words; "" where the fast step does.
        lengths: positions that each slot holds; 0 for one that holds no utterance.
    """

    def __init__(self, model: SpeechLM, slots: int, max_length: int, *, compile: str = "auto") -> None:
        """Prepare an empty memory.

        Args:
            model: in eval mode.
            slots: S.
            max_length: positions that a slot is expected to hold at most. It may hold more: the memory grows.
            compile: one of `COMPILE`.

        Raises:
            ShapeError: no slots, no positions or an unknown ``compile``.
        """
        if slots < 1 or max_length < 1 or compile not in COMPILE:
            raise ShapeError(
                f"{slots} slots of {max_length} positions, compile {compile!r}; expected at least one of each, and one "
                f"of {', '.join(COMPILE)}"
            )
        parts = _parts(model)
        reasons = [why_not(part) for part in parts]
        self.reason = next((reason for reason in reasons if reason), "")
        self.lengths = [0] * slots
        self._stacks: list[Stack] = []
        for part, reason in zip(parts, reasons, strict=True):
            self._stacks.append(PlainStack(part, slots) if reason else LlamaStack(part, slots, max_length))
        self._graphed: GraphedStep | None = None
        fast = [stack for stack in self._stacks if isinstance(stack, LlamaStack)]
        if compile == "auto" and model.device.type == "cuda" and len(fast) == len(parts):
            self._graphed = GraphedStep(fast, slots)

    @torch.inference_mode()
    def prefill(self, slots: Sequence[int], embeddings: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Begin new utterances in ``slots``, which forget what they hold.

        Args:
            slots: n of them, each once.
            embeddings: float [L_i, D] for each, L_i >= 1.

        Returns:
            what the text head and what the speech heads read at the last position, float [n, D] each.

        Raises:
            ShapeError: not as many embeddings as slots, a slot twice or not there, or nothing to read for one.
        """
        if len(slots) != len(embeddings) or len(set(slots)) != len(slots) or not len(slots):
            raise ShapeError(f"slots {list(slots)} and {len(embeddings)} prefixes; expected one each, no slot twice")
        if min(slots) < 0 or max(slots) >= len(self.lengths):
            raise ShapeError(f"slots {list(slots)}; expected some of 0 to {len(self.lengths) - 1}")
        if any(prefix.ndim != 2 or not len(prefix) for prefix in embeddings):
            raise ShapeError(f"prefixes are {[list(prefix.shape) for prefix in embeddings]}; expected [L, D], L >= 1")
        found = [self._stacks[0].prefill(slots, embeddings)]
        found += [stack.prefill(slots, found[0]) for stack in self._stacks[1:]]
        for slot, prefix in zip(slots, embeddings, strict=True):
            self.lengths[slot] = len(prefix)
        hidden, states = (torch.stack([every[-1] for every in positions]) for positions in (found[0], found[-1]))
        return hidden, states

    @torch.inference_mode()
    def step(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Go on by one position in every slot.

        Args:
            embeddings: float [S, D]; those of slots without an utterance have no effect on the others.

        Returns:
            what the text head and what the speech heads read there, float [S, D] each.

        Raises:
            ShapeError: not one embedding for each slot.
        """
        if embeddings.ndim != 2 or len(embeddings) != len(self.lengths):
            raise ShapeError(f"embeddings are {list(embeddings.shape)}; expected [{len(self.lengths)}, D]")
        if self._graphed is not None:
            hidden, states = self._graphed(embeddings, self.lengths)
        else:
            places = Places.of(self.lengths, embeddings.device, embeddings.dtype)
            hidden = states = self._stacks[0].step(embeddings, places)
            for stack in self._stacks[1:]:
                states = stack.step(hidden, places)
        self.lengths = [length and length + 1 for length in self.lengths]
        return hidden, states

    def release(self, slots: Iterable[int]) -> None:
        """Say that the utterances in ``slots`` have ended, so that no time is spent on their positions."""
        slots = list(slots)
        for slot in slots:
            self.lengths[slot] = 0
        for stack in self._stacks:
            stack.release(slots)


def _parts(model: SpeechLM) -> list[PreTrainedModel]:
    body = model.backbone.base_model
    return [body] if model.head_body is None else [body, model.head_body]


def why_slow(model: SpeechLM) -> str:
    """What `StepBackbone.reason` would say of ``model``, in eval mode and on its device; "" where the step is fast."""
    return next((reason for reason in map(why_not, _parts(model)) if reason), "")


def make_backbone(model: SpeechLM, slots: int, max_length: int) -> StepBackbone:
    """The fastest `StepBackbone` for ``model`` on its device, as `StepBackbone` itself with its defaults."""
    return StepBackbone(model, slots, max_length)

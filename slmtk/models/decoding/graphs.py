"""A step on a GPU as one recorded graph of kernels, so that launching them costs nothing. Part of tokens -> codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from slmtk.models.decoding.cache import Places, mask_of, power_of_two
from slmtk.models.decoding.llama import LlamaStack

SHORTEST_WINDOW = 128

Compute = Callable[[], tuple[Tensor, Tensor]]
Recorder = Callable[[Compute], tuple[Callable[[], None], tuple[Tensor, Tensor]]]
"""Records a computation: returns what runs it again, and the tensors that it writes to every time."""


def record_cuda_graph(compute: Compute) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
    """Record ``compute`` as a CUDA graph."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # libraries choose their kernels and take their workspaces before the recording
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = compute()
    return graph.replay, outputs


class GraphedStep:
    """The step of all stacks, recorded once for each window of positions that is looked at.

    Windows are powers of two, so that a handful of recordings serve every length and attention never reads more than
    twice what there is.
    """

    def __init__(self, stacks: Sequence[LlamaStack], slots: int, record: Recorder = record_cuda_graph) -> None:
        """``stacks``: the backbone and, where there is one, the transformer head behind it."""
        self._stacks = stacks
        self._record = record
        like = stacks[0].cache.buffer
        self._inputs = like.new_zeros(slots, stacks[0].width)
        self._index = torch.zeros(slots, dtype=torch.int64, device=like.device)
        self._memory = [stack.cache.buffer for stack in stacks]
        self._recorded: dict[int, tuple[Callable[[], None], tuple[Tensor, Tensor]]] = {}

    def __call__(self, embeddings: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """One position behind ``lengths`` in every slot: float [S, D] -> hidden and head states, float [S, D] each."""
        window = max(SHORTEST_WINDOW, power_of_two(max(lengths) + 1))
        for stack in self._stacks:
            stack.make_room(window)
        if any(was is not stack.cache.buffer for was, stack in zip(self._memory, self._stacks, strict=True)):
            # It has moved, now or when prefixes were read; what was recorded writes to the old one.
            self._recorded.clear()
            self._memory = [stack.cache.buffer for stack in self._stacks]
        self._inputs.copy_(embeddings)
        self._index.copy_(torch.tensor(lengths), non_blocking=True)
        if window not in self._recorded:
            self._recorded[window] = self._record(lambda: self._compute(window))
        replay, (hidden, states) = self._recorded[window]
        replay()
        # The next replay writes to the same tensors.
        return hidden.clone(), states.clone()

    def _compute(self, window: int) -> tuple[Tensor, Tensor]:
        places = Places(self._index, window, mask_of(self._index, window, self._inputs.dtype))
        hidden = states = self._stacks[0].step(self._inputs, places)
        for stack in self._stacks[1:]:
            states = stack.step(hidden, places)
        return hidden, states

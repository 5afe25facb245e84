"""Keys and values of the positions that were read, in buffers that stay where they are. Part of tokens -> codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_ROOM = 256
"""Positions that a memory on a CPU has room for at first; it doubles when it is full."""


@dataclass(frozen=True)
class Places:
    """Where in the memory a step's position stands in each slot, and what it may look at.

    Attributes:
        index: int64 [S], the position in each slot; an int where it is the same in all of them.
        window: positions from 0 that are looked at.
        mask: float [S, 1, 1, window], 0 or minus infinity; None where every slot looks at the whole window.
    """

    index: Tensor | int
    window: int
    mask: Tensor | None

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, dtype: torch.dtype) -> Places:
        """The places behind ``lengths`` positions. A slot without an utterance writes to position 0, for nobody."""
        longest = max(lengths)
        # What a slot without an utterance computes is ignored, so the others decide whether a mask is needed.
        if all(length in (0, longest) for length in lengths):
            return cls(longest, longest + 1, None)
        index = torch.tensor(lengths, device=device)
        return cls(index, longest + 1, mask_of(index, longest + 1, dtype))


def mask_of(index: Tensor, window: int, dtype: torch.dtype) -> Tensor:
    """What to add to scores so that each slot looks at positions 0 to its own: int64 [S] -> [S, 1, 1, window]."""
    unseen = torch.arange(window, device=index.device) > index[:, None]
    mask = torch.zeros(unseen.shape, dtype=dtype, device=index.device).masked_fill_(unseen, -torch.inf)
    return mask[:, None, None]


class KeyValueCache:
    """Keys and values of all layers.

    Attributes:
        buffer: float [N, S, 2, G, room, E]: of N layers, keys and values of G heads.
        room: positions that fit.
    """

    def __init__(self, num_layers: int, shape: tuple[int, int, int], room: int, like: Tensor) -> None:
        """``shape`` is (S, G, E); ``like`` gives type and device."""
        slots, heads, width = shape
        self.room = room
        # Zeros: what a mask hides is multiplied by 0, and must not be infinite.
        self.buffer = like.new_zeros(num_layers, slots, 2, heads, room, width)

    def make_room(self, positions: int) -> bool:
        """Have room for ``positions``; returns whether the buffer was moved to a larger one."""
        if positions <= self.room:
            return False
        old, room = self.buffer, power_of_two(positions)
        self.buffer = old.new_zeros(*old.shape[:4], room, old.shape[5])
        self.buffer[:, :, :, :, : self.room] = old
        self.room = room
        return True

    def begin(self, layer: int, slot: int, keys_values: Tensor) -> None:
        """Put the first positions of a slot: float [2, G, L, E]."""
        self.buffer[layer, slot, :, :, : keys_values.shape[2]] = keys_values

    def open(self, places: Places) -> tuple[Callable[[int, Tensor], None], Sequence[Tensor], Sequence[Tensor]]:
        """What a step needs, cut out once for all layers: one layer after the other, cutting costs more than writing.

        Returns:
            a function that puts a layer's new keys and values, float [S, 2, G, E], in their places; each layer's keys
            and each layer's values up to there, float [S, G, window, E].
        """
        window = self.buffer[:, :, :, :, : places.window]
        if isinstance(places.index, int):
            targets = self.buffer.select(4, places.index).unbind(0)

            def put(layer: int, keys_values: Tensor) -> None:
                targets[layer].copy_(keys_values)
        else:
            slots, index, layers = torch.arange(len(places.index), device=window.device), places.index, window.unbind(0)

            def put(layer: int, keys_values: Tensor) -> None:
                layers[layer][slots, :, :, index] = keys_values

        keys, values = window.unbind(2)
        return put, keys.unbind(0), values.unbind(0)


def power_of_two(count: int) -> int:
    """The next power of two from ``count`` on."""
    return 1 << (count - 1).bit_length()

"""Any causal transformer, position by position, by transformers' own modules and caches. Part of tokens -> codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from slmtk.models.decoding.cache import Places


class PlainStack:
    """One cache for each slot, which are run one after the other.

    Slots of different lengths would need padding, which not every architecture heeds (convolutions, recurrent layers,
    windows); one at a time is right for all of them.
    """

    def __init__(self, transformer: PreTrainedModel, slots: int) -> None:
        """``transformer`` without a text head."""
        self._transformer = transformer
        self._caches: list[DynamicCache | None] = [None] * slots

    def prefill(self, slots: Sequence[int], inputs: Sequence[Tensor]) -> list[Tensor]:
        """Begin anew in ``slots``: float [L_i, D] each -> float [L_i, D] each."""
        for slot in slots:
            self._caches[slot] = DynamicCache(config=self._transformer.config)
        return [self._run(slot, every) for slot, every in zip(slots, inputs, strict=True)]

    def step(self, inputs: Tensor, places: Places) -> Tensor:
        """One position in each slot that holds something: float [S, D] -> float [S, D], 0 in the others."""
        outputs = torch.zeros_like(inputs)
        for slot, cache in enumerate(self._caches):
            if cache is not None:
                outputs[slot] = self._run(slot, inputs[slot, None])[0]
        return outputs

    def release(self, slots: Iterable[int]) -> None:
        """Forget ``slots``."""
        for slot in slots:
            self._caches[slot] = None

    def _run(self, slot: int, inputs: Tensor) -> Tensor:
        outputs = self._transformer(inputs_embeds=inputs[None], past_key_values=self._caches[slot], use_cache=True)
        hidden: Tensor = outputs.last_hidden_state[0]
        return hidden

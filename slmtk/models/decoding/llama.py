"""Transformers built like Llama (Llama, Qwen2, Qwen3, Mistral): one position of every slot. Part of tokens -> codes.

What transformers computes, in the same order, without its modules: at one position they cost more time than the
arithmetic. Source: transformers' modeling_llama.py, modeling_qwen2.py, modeling_qwen3.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from slmtk.models.decoding.cache import FIRST_ROOM, KeyValueCache, Places, power_of_two
from slmtk.models.decoding.weights import LayerWeights, read_layers


class LlamaStack:
    """Layers, final norm and memory of one transformer. Letters: Q heads of queries, G of keys and values, E wide."""

    def __init__(self, transformer: PreTrainedModel, slots: int, max_length: int) -> None:
        """Read the weights; ``max_length`` positions are expected at most."""
        self._rotary = transformer.rotary_emb
        self._layers = read_layers(transformer, slots)
        self._norm = transformer.norm.weight.detach()
        self._eps = transformer.norm.variance_epsilon
        attention = transformer.layers[0].self_attn
        self._head_width: int = attention.head_dim
        self._groups: int = attention.k_proj.out_features // self._head_width
        self._queries: int = attention.q_proj.out_features // self._head_width
        self._scale: float = attention.scaling
        room = power_of_two(max_length)
        if self._norm.device.type == "cpu":
            room = min(room, FIRST_ROOM)
        self.width = len(self._norm)
        self.cache = KeyValueCache(len(self._layers), (slots, self._groups, self._head_width), room, self._norm)
        self._turn = self._rotations()

    def make_room(self, positions: int) -> None:
        """Have room for ``positions`` in every slot."""
        if self.cache.make_room(positions):
            self._turn = self._rotations()

    def prefill(self, slots: Sequence[int], inputs: Sequence[Tensor]) -> list[Tensor]:
        """Begin anew in ``slots``: float [L_i, D] each -> float [L_i, D] each."""
        lengths = [len(every) for every in inputs]
        self.make_room(max(lengths))
        x = torch.cat(list(inputs))
        # All prefixes go through the matrices as one; only attention tells them apart.
        turn = torch.cat([self._turn[:, :length] for length in lengths], dim=1).unbind(0)
        for number, layer in enumerate(self._layers):
            heads = self._heads(layer, x, turn)
            found = []
            for slot, every in zip(slots, torch.split_with_sizes(heads, lengths), strict=True):
                queries, new = torch.split_with_sizes(every.transpose(0, 1), (self._queries, 2 * self._groups))
                new = new.view(2, self._groups, len(every), self._head_width)
                self.cache.begin(number, slot, new)
                found.append(self._attend_within(queries, *new))
            x = self._after_attention(layer, x, torch.cat(found))
        return list(torch.split_with_sizes(self._last_norm(x), lengths))

    def step(self, inputs: Tensor, places: Places) -> Tensor:
        """One position in every slot: float [S, D] -> float [S, D]."""
        self.make_room(places.window)
        put, keys, values = self.cache.open(places)
        turn, x = self._turn[:, places.index].unbind(0), inputs
        mask, scale, sizes = places.mask, self._scale, (self._queries, 2 * self._groups)
        grouped_queries = (len(x), self._groups, -1, self._head_width)
        grouped_new = (len(x), 2, self._groups, self._head_width)
        for number, layer in enumerate(self._layers):
            queries, new = torch.split_with_sizes(self._heads(layer, x, turn), sizes, 1)
            put(number, new.view(grouped_new))
            # The queries that share a head of keys stand where a sequence's positions would: nothing is repeated.
            found = F.scaled_dot_product_attention(
                queries.view(grouped_queries), keys[number], values[number], mask, scale=scale
            )
            x = self._after_attention(layer, x, found.flatten(1))
        return self._last_norm(x)

    def release(self, slots: Iterable[int]) -> None:
        """Nothing to do: what a slot holds is written over."""

    def _heads(self, layer: LayerWeights, x: Tensor, turn: Sequence[Tensor]) -> Tensor:
        """Queries, keys and values of float [n, D], turned to their positions: float [n, Q + 2 G, E]."""
        heads = layer.queries_keys_values(_norm(x, layer.attention_norm, self._eps))
        heads = heads.view(len(x), -1, self._head_width)
        turned = heads[:, : self._queries + self._groups]
        if layer.head_norm is not None:
            turned.copy_(_norm(turned, None, self._eps).mul_(layer.head_norm))
        halves = turned.view(len(x), -1, 2, self._head_width // 2)
        torch.addcmul(halves * turn[0], halves.flip(2), turn[1], out=halves)
        return heads

    def _after_attention(self, layer: LayerWeights, x: Tensor, found: Tensor) -> Tensor:
        x = layer.attention_out.add_to(x, found)
        gate, up = layer.gate_up(_norm(x, layer.mlp_norm, self._eps)).chunk(2, dim=1)
        return layer.down.add_to(x, layer.activation(gate).mul_(up))

    def _attend_within(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Causal attention of one prefix: float [Q, L, E] and twice [G, L, E] -> [L, Q E]."""
        shared = self._queries // self._groups
        keys, values = (part.repeat_interleave(shared, dim=0) for part in (keys, values))
        found = F.scaled_dot_product_attention(
            queries[None], keys[None], values[None], is_causal=True, scale=self._scale
        )
        return found[0].transpose(0, 1).flatten(1)

    def _last_norm(self, x: Tensor) -> Tensor:
        return _norm(x, self._norm, self._eps)

    def _rotations(self) -> Tensor:
        """Cosines and signed sines of every position with room, from the transformer's own rotary embedding.

        float [2, room, 1, 2, E / 2]: halves (a, b) of a head become (a, b) cos + (b, a) (-sin, sin).
        """
        positions = torch.arange(self.cache.room, device=self._norm.device)[None]
        cosine, sine = (part[0].unflatten(1, (1, 2, -1)) for part in self._rotary(self._norm[None], positions))
        return torch.stack([cosine, torch.cat([-sine[:, :, :1], sine[:, :, 1:]], dim=2)])


def _norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    if weight is not None and len(x) == 1 and x.dtype == torch.float32 and x.device.type == "cpu":
        # PyTorch composes its own of seven operations on a CPU, which for one row cost as much as a small layer.
        row = x.view(-1)
        return (x * weight).mul_((row.dot(row).item() / len(row) + eps) ** -0.5)
    return torch.rms_norm(x, x.shape[-1:], weight, eps)

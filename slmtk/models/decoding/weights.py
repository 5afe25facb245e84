"""The weights of a transformer built like Llama, as few matrices; joined without a copy. Part of tokens -> codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slmtk.models.decoding.linear import LARGEST_COPY, Linear


@dataclass(frozen=True)
class LayerWeights:
    """One layer.

    Attributes:
        attention_norm: float [D].
        queries_keys_values: D -> (Q + 2 G) E, Q heads of queries and G of keys and values.
        head_norm: float [Q + G, E], of each query and key; None where they are used as they are.
        attention_out: Q E -> D.
        mlp_norm: float [D].
        gate_up: D -> 2 F.
        activation: of the gate.
        down: F -> D.
    """

    attention_norm: Tensor
    queries_keys_values: Linear
    head_norm: Tensor | None
    attention_out: Linear
    mlp_norm: Tensor
    gate_up: Linear
    activation: Callable[[Tensor], Tensor]
    down: Linear


def read_layers(transformer: PreTrainedModel, rows: int) -> list[LayerWeights]:
    """The weights of every layer, for steps of ``rows``; `check.why_not` says whether they can be read."""
    # Joined tensors become the model's parameters, which must stay fit for training.
    with torch.inference_mode(False), torch.no_grad():
        size = sum(parameter.nbytes for parameter in transformer.layers.parameters())
        return [_read(layer, rows, copy=size <= LARGEST_COPY) for layer in transformer.layers]


def _read(layer: Any, rows: int, *, copy: bool) -> LayerWeights:
    attention, mlp = layer.self_attn, layer.mlp
    head_norm = None
    if hasattr(attention, "q_norm"):
        queries = attention.q_proj.out_features // attention.head_dim
        keys = attention.k_proj.out_features // attention.head_dim
        norms = (attention.q_norm.weight.expand(queries, -1), attention.k_norm.weight.expand(keys, -1))
        head_norm = torch.cat(norms).detach()
    return LayerWeights(
        attention_norm=layer.input_layernorm.weight.detach(),
        queries_keys_values=join_linears([attention.q_proj, attention.k_proj, attention.v_proj], rows, copy=copy),
        head_norm=head_norm,
        attention_out=join_linears([attention.o_proj], rows, copy=copy),
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        gate_up=join_linears([mlp.gate_proj, mlp.up_proj], rows, copy=copy),
        activation=mlp.act_fn.forward,  # a module called costs as much as what it does
        down=join_linears([mlp.down_proj], rows, copy=copy),
    )


def join_linears(layers: Sequence[Any], rows: int, *, copy: bool) -> Linear:
    """Layers with one input as one layer whose output is theirs, one behind the other."""
    bias = join_rows([layer.bias for layer in layers]) if layers[0].bias is not None else None
    return Linear(join_rows([layer.weight for layer in layers]), bias, rows, layers, copy=copy)


def join_rows(parts: Sequence[nn.Parameter]) -> Tensor:
    """Parameters one below the other as one tensor, [sum of rows, ...].

    The parameters become views of it: nothing is held twice, and what trains or loads them later changes both. Where
    they are already, nothing is done.
    """
    first = parts[0].detach()
    if len(parts) == 1:
        return first
    if not _are_neighbours(parts):
        joined = torch.cat([part.detach() for part in parts])
        for part, piece in zip(parts, torch.split_with_sizes(joined, [len(part) for part in parts]), strict=True):
            part.data = piece
        return joined
    rows = sum(len(part) for part in parts)
    return first.as_strided((rows, *first.shape[1:]), first.stride(), first.storage_offset())


def _are_neighbours(parts: Sequence[Tensor]) -> bool:
    storage, offset = parts[0].untyped_storage().data_ptr(), parts[0].storage_offset()
    for part in parts:
        if not part.is_contiguous() or part.untyped_storage().data_ptr() != storage or part.storage_offset() != offset:
            return False
        offset += part.numel()
    return True

"""Whether the fast step may stand in for a transformer: its architecture is known, and a trial agrees."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slmtk.models.decoding.cache import Places
from slmtk.models.decoding.llama import LlamaStack

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
MOVING_ROTATIONS = ("dynamic", "longrope")
"""Rotary embeddings whose frequencies depend on the length that was reached."""

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_verdicts: dict[tuple[type, str, torch.dtype, str], str] = {}


def why_not(transformer: PreTrainedModel) -> str:
    """Why ``transformer`` (without a text head) cannot take the fast step, in words; "" if it can.

    The trial, three positions of two slots, is made once for each class, configuration, type and device.
    """
    found = _what_differs(transformer)
    if found:
        return found
    key = (type(transformer), transformer.config.to_json_string(), transformer.dtype, transformer.device.type)
    if key not in _verdicts:
        _verdicts[key] = _trial(transformer)
    return _verdicts[key]


def _what_differs(transformer: PreTrainedModel) -> str:
    config = transformer.config
    kind = config.model_type
    if kind not in ARCHITECTURES or not hasattr(transformer, "layers"):
        return f"the architecture {kind!r} has no fast step; {', '.join(ARCHITECTURES)} have"
    types = getattr(config, "layer_types", None) or ()
    windowed = any(name != "full_attention" for name in types) or (kind == "mistral" and config.sliding_window)
    if windowed:
        return f"this {kind} model attends within a sliding window"
    if any(word in str(transformer.rotary_emb.rope_type) for word in MOVING_ROTATIONS):
        return f"rotary positions of type {transformer.rotary_emb.rope_type!r} change with the length"
    return _what_is_wrapped(transformer)


def _what_is_wrapped(transformer: PreTrainedModel) -> str:
    for layer in transformer.layers:
        if hasattr(layer, "_hf_hook"):
            return "the layers are moved between devices as they run"
        for name in _PROJECTIONS:
            module = getattr(layer.mlp if name in ("gate_proj", "up_proj", "down_proj") else layer.self_attn, name)
            if type(module) is not nn.Linear:
                return f"{name} is a {type(module).__name__}, not a plain linear layer"
    parameters = list(transformer.layers.parameters())
    if len({(parameter.device, parameter.dtype) for parameter in parameters}) > 1:
        return "the layers' weights are of several types or on several devices"
    if any(type(parameter.data) is not Tensor for parameter in parameters):
        return "the layers' weights are quantized or spread over devices"
    if any(parameter.is_inference() for parameter in parameters):
        return "the weights were loaded in inference mode and cannot be joined"
    return ""


@torch.inference_mode()
def _trial(transformer: PreTrainedModel) -> str:
    """Compare with transformers without a cache: slots of 3 and 2 positions, then one more in each."""
    weight: Tensor = transformer.norm.weight
    random = torch.Generator().manual_seed(0)
    rows = [torch.randn(length, len(weight), generator=random).to(weight) for length in (4, 3)]
    stack = LlamaStack(transformer, 2, 8)
    began = stack.prefill([1, 0], [row[:-1] for row in rows])
    places = Places.of([2, 3], weight.device, weight.dtype)
    after = stack.step(torch.stack([rows[1][-1], rows[0][-1]]), places).flip(0)
    worst = 0.0
    for row, first, last in zip(rows, began, after, strict=True):
        expected = transformer(inputs_embeds=row[None], use_cache=False).last_hidden_state[0]
        difference = (torch.cat([first, last[None]]) - expected).abs().max() / expected.abs().max()
        # A comparison with NaN is false; a model that gives it is no reason to run slower.
        worst = max(worst, float(difference))
    if worst > (1e-3 if weight.dtype == torch.float32 else 0.05):
        return f"the fast step differs from transformers' by {worst:.1%}"
    return ""

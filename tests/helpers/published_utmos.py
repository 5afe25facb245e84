"""UTMOS22's strong learner in its published format: a small checkpoint of random weights, and its arithmetic.

The arithmetic follows the names of the published file (fairseq's, in the wav2vec part), so that it shares nothing with
slmtk's loading of them into another library's network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

STRIDES = (5, 2, 2, 2, 2, 2, 2)
KERNELS = (10, 3, 3, 3, 3, 2, 2)
CHANNELS, WIDTH, INNER, LAYERS, HEADS = 16, 128, 32, 2, 2
POSITIONS, GROUPS = 8, 4
DOMAIN, JUDGE, MEMORY, PROJECTION = 6, 5, 7, 9


def random_state(seed: int = 0) -> dict[str, Tensor]:
    """Tensors under the published names; norms near one, everything else random."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int, scale: float = 0.2) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    state = {"wav2vec2.mask_emb": some(WIDTH), "domain_emb": some(1, DOMAIN), "judge_emb": some(1, JUDGE)}

    def linear(name: str, out: int, into: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = some(out, into), some(out)

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + some(size), some(size)

    for place, kernel in enumerate(KERNELS):
        into = CHANNELS if place else 1
        state[f"wav2vec2.feature_extractor.conv_layers.{place}.0.weight"] = some(CHANNELS, into, kernel)
    norm("wav2vec2.feature_extractor.conv_layers.0.2", CHANNELS)
    norm("wav2vec2.layer_norm", CHANNELS)
    linear("wav2vec2.post_extract_proj", WIDTH, CHANNELS)
    state["wav2vec2.encoder.pos_conv.0.bias"] = some(WIDTH)
    state["wav2vec2.encoder.pos_conv.0.weight_g"] = 1 + some(1, 1, POSITIONS)
    state["wav2vec2.encoder.pos_conv.0.weight_v"] = some(WIDTH, WIDTH // GROUPS, POSITIONS)
    norm("wav2vec2.encoder.layer_norm", WIDTH)
    for layer in range(LAYERS):
        name = f"wav2vec2.encoder.layers.{layer}"
        for part in "kvq":
            linear(f"{name}.self_attn.{part}_proj", WIDTH, WIDTH)
        linear(f"{name}.self_attn.out_proj", WIDTH, WIDTH)
        norm(f"{name}.self_attn_layer_norm", WIDTH)
        linear(f"{name}.fc1", INNER, WIDTH)
        linear(f"{name}.fc2", WIDTH, INNER)
        norm(f"{name}.final_layer_norm", WIDTH)
    for direction in ("", "_reverse"):
        state[f"blstm.weight_ih_l0{direction}"] = some(4 * MEMORY, WIDTH + DOMAIN + JUDGE)
        state[f"blstm.weight_hh_l0{direction}"] = some(4 * MEMORY, MEMORY)
        for bias in ("bias_ih", "bias_hh"):
            state[f"blstm.{bias}_l0{direction}"] = some(4 * MEMORY)
    linear("projection.0", PROJECTION, 2 * MEMORY)
    linear("projection.2", 1, PROJECTION)
    return state


def opinion(state: dict[str, Tensor], wav: Tensor) -> float:
    """The score of one utterance, float32 [S] at 16 kHz."""
    heard = _wav2vec(state, wav)
    told = torch.cat([state["domain_emb"][0], state["judge_emb"][0]]).expand(len(heard), -1)
    into = torch.cat([heard, told], dim=1)
    both = torch.cat([_lstm(state, into, ""), _lstm(state, into.flip(0), "_reverse").flip(0)], dim=1)
    frames = F.linear(both, state["projection.0.weight"], state["projection.0.bias"]).relu()
    return float(F.linear(frames, state["projection.2.weight"], state["projection.2.bias"]).mean() * 2 + 3)


def _wav2vec(state: dict[str, Tensor], wav: Tensor) -> Tensor:
    inner = {name.removeprefix("wav2vec2."): tensor for name, tensor in state.items()}
    x = wav[None, None]
    for place, stride in enumerate(STRIDES):
        x = F.conv1d(x, inner[f"feature_extractor.conv_layers.{place}.0.weight"], stride=stride)
        if place == 0:
            scale, shift = (inner[f"feature_extractor.conv_layers.0.2.{part}"] for part in ("weight", "bias"))
            x = F.group_norm(x, CHANNELS, scale, shift)
        x = F.gelu(x)
    x = _linear(inner, "post_extract_proj", _norm(inner, "layer_norm", x[0].T))
    # Weight normalisation over all but the kernel's places.
    direction = inner["encoder.pos_conv.0.weight_v"]
    kernel = inner["encoder.pos_conv.0.weight_g"] * direction / direction.norm(dim=(0, 1), keepdim=True)
    bias = inner["encoder.pos_conv.0.bias"]
    place = F.conv1d(x.T[None], kernel, bias, padding=POSITIONS // 2, groups=GROUPS)[0, :, :-1].T
    x = _norm(inner, "encoder.layer_norm", x + F.gelu(place))
    for layer in range(LAYERS):
        x = _layer(inner, f"encoder.layers.{layer}", x)
    return x


def _layer(inner: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    query, key, value = (
        _linear(inner, f"{name}.self_attn.{part}_proj", x).reshape(len(x), HEADS, -1).transpose(0, 1) for part in "qkv"
    )
    weights = (query @ key.transpose(1, 2) / (WIDTH // HEADS) ** 0.5).softmax(dim=-1)
    attended = _linear(inner, f"{name}.self_attn.out_proj", (weights @ value).transpose(0, 1).reshape(len(x), -1))
    x = _norm(inner, f"{name}.self_attn_layer_norm", x + attended)
    wide = F.gelu(_linear(inner, f"{name}.fc1", x))
    return _norm(inner, f"{name}.final_layer_norm", x + _linear(inner, f"{name}.fc2", wide))


def _linear(inner: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, inner[f"{name}.weight"], inner[f"{name}.bias"])


def _norm(inner: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], inner[f"{name}.weight"], inner[f"{name}.bias"])


def _lstm(state: dict[str, Tensor], x: Tensor, direction: str) -> Tensor:
    def part(name: str) -> Tensor:
        return state[f"blstm.{name}_l0{direction}"]

    hidden = cell = torch.zeros(MEMORY)
    out = []
    for frame in x:
        gates = part("weight_ih") @ frame + part("bias_ih") + part("weight_hh") @ hidden + part("bias_hh")
        into, forget, new, shown = gates.chunk(4)
        cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
        hidden = shown.sigmoid() * cell.tanh()
        out.append(hidden)
    return torch.stack(out)

"""FACodec written down as its description reads, one operator after the other: what facodec_speed compares with.

The arithmetic and its order are those of the published modules: weights are put together from direction and norm at
every call, the anti-aliased activations are depthwise convolutions over the whole utterance, a batch is one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]
ENCODER_STRIDES = (2, 4, 5, 5)
DECODER_STRIDES = (5, 5, 4, 2)


def weight(state: State, key: str) -> Tensor:
    v = state[f"{key}.weight_v"]
    norm = torch.linalg.vector_norm(v, dim=tuple(range(1, v.ndim)), keepdim=True)
    return state[f"{key}.weight_g"] * v / norm


def conv(state: State, key: str, x: Tensor, **how: int) -> Tensor:
    return F.conv1d(x, weight(state, key), state[f"{key}.bias"], **how)


def activation(state: State, key: str, x: Tensor) -> Tensor:
    """Double the rate, snake, halve the rate."""
    channels = x.shape[1]
    up = state[f"{key}.upsample.filter"].expand(channels, 1, 12)
    down = state[f"{key}.downsample.lowpass.filter"].expand(channels, 1, 12)
    x = F.pad(x, (5, 5), mode="replicate")
    x = 2 * F.conv_transpose1d(x, up, stride=2, groups=channels)
    x = x[..., 15:-15]
    alpha = state[f"{key}.act.alpha"].exp()[None, :, None]
    beta = state[f"{key}.act.beta"].exp()[None, :, None]
    x = x + (1.0 / (beta + 1e-9)) * torch.sin(x * alpha) ** 2
    x = F.pad(x, (5, 6), mode="replicate")
    return F.conv1d(x, down, stride=2, groups=channels)


def residual_unit(state: State, key: str, x: Tensor, dilation: int) -> Tensor:
    y = activation(state, f"{key}.block.0", x)
    y = conv(state, f"{key}.block.1", y, dilation=dilation, padding=3 * dilation)
    y = activation(state, f"{key}.block.2", y)
    return x + conv(state, f"{key}.block.3", y)


def encoder(state: State, wav: Tensor) -> Tensor:
    """Audio [B, 1, S] -> latent [B, 256, T]."""
    x = conv(state, "block.0", wav, padding=3)
    for number, stride in enumerate(ENCODER_STRIDES, start=1):
        key = f"block.{number}.block"
        for unit, dilation in enumerate((1, 3, 9)):
            x = residual_unit(state, f"{key}.{unit}", x, dilation)
        x = activation(state, f"{key}.3", x)
        x = conv(state, f"{key}.4", x, stride=stride, padding=math.ceil(stride / 2))
    return conv(state, "block.6", activation(state, "block.5", x), padding=1)


def prosody_feature(state: State, wav: Tensor) -> Tensor:
    """Audio [B, 1, S] -> the lowest 20 log-mel bands [B, 20, T]."""
    padded = F.pad(wav, (412, 412), mode="reflect")[:, 0]
    window = state["mel_transform.hann_window"]
    spectrum = torch.stft(padded, 1024, 200, 800, window, center=False, onesided=True, return_complex=True)
    magnitude = torch.sqrt(torch.view_as_real(spectrum).pow(2).sum(-1) + 1e-9)
    mel = torch.matmul(state["mel_transform.mel_basis"], magnitude)
    return torch.log(torch.clamp(mel, min=1e-5))[:, :20]


def transformer(state: State, key: str, x: Tensor, condition: Tensor | None = None) -> Tensor:
    """[B, T, 256] -> [B, T, 256], every row as if it were alone (position vector of row 0)."""

    def norm(name: str, x: Tensor) -> Tensor:
        if condition is None:
            return F.layer_norm(x, (256,), state[f"{key}.{name}.weight"], state[f"{key}.{name}.bias"])
        style = F.linear(condition, state[f"{key}.{name}.style.weight"], state[f"{key}.{name}.style.bias"])
        gamma, beta = style[:, None].chunk(2, -1)
        return gamma * F.layer_norm(x, (256,)) + beta

    x = x + state[f"{key}.position_emb.pe"][0]
    for layer in range(4):
        name = f"layers.{layer}"
        attention = f"{key}.{name}.self_attn"
        y = norm(f"{name}.ln_1", x).transpose(0, 1)
        y, _ = F.multi_head_attention_forward(
            y, y, y, 256, 4, state[f"{attention}.in_proj_weight"], state[f"{attention}.in_proj_bias"], None, None,
            False, 0.0, state[f"{attention}.out_proj.weight"], state[f"{attention}.out_proj.bias"], training=False,
        )  # fmt: skip
        x = x + y.transpose(0, 1)
        y, ffn = norm(f"{name}.ln_2", x), f"{key}.{name}.ffn"
        y = F.conv1d(y.transpose(1, 2), state[f"{ffn}.ffn_1.weight"], state[f"{ffn}.ffn_1.bias"], padding=2)
        x = x + F.linear(F.relu(y.transpose(1, 2)), state[f"{ffn}.ffn_2.weight"], state[f"{ffn}.ffn_2.bias"])
    return norm("last_ln", x)


def quantize(
    state: State, number: int, layers: int, z: Tensor, margins: list[Tensor] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """[B, 256, T] -> sum of the layers' outputs [B, 256, T] and codes [B, T] of each.

    To ``margins``, each layer's gap in cosine between its best and second-best entry is appended, [B, T].
    """
    total, codes = torch.zeros_like(z), []
    for layer in range(layers):
        key = f"quantizer.{number}.layers.{layer}"
        e = F.linear((z - total).transpose(1, 2), weight(state, f"{key}.in_proj"), state[f"{key}.in_proj.bias"])
        table = state[f"{key}._codebook.weight"]
        a, b = F.normalize(e.flatten(0, 1)), F.normalize(table)
        distance = a.pow(2).sum(1, keepdim=True) - 2 * a @ b.T + b.pow(2).sum(1)[None]
        index = distance.argmin(1).view(e.shape[:2])
        if margins is not None:
            nearest = (a @ b.T).topk(2).values
            margins.append((nearest[:, 0] - nearest[:, 1]).view(e.shape[:2]))
        q = e + (F.embedding(index, table) - e)
        out = F.linear(q, weight(state, f"{key}.out_proj"), state[f"{key}.out_proj.bias"])
        total = total + out.transpose(1, 2)
        codes.append(index)
    return total, codes


@dataclass
class Baseline:
    """Encoder and decoder as state dicts of the published files."""

    encoder: State
    decoder: State

    def encode(self, wav: Tensor, margins: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Audio [B, S] -> codes int64 [B, 6, T] in the order prosody, content, residual, and speaker [B, 256]."""
        x = encoder(self.encoder, wav[:, None])
        prosody = x
        if "mel_transform.mel_basis" in self.encoder:
            mel = prosody_feature(self.encoder, wav[:, None])
            mel = F.pad(mel, (0, x.shape[2] - mel.shape[2])).transpose(1, 2)
            mel = F.linear(mel, self.decoder["melspec_linear.weight"], self.decoder["melspec_linear.bias"])
            prosody = transformer(self.decoder, "melspec_encoder", mel).transpose(1, 2)
        out_p, codes_p = quantize(self.decoder, 0, 1, prosody, margins)
        out_c, codes_c = quantize(self.decoder, 1, 2, x, margins)
        _, codes_r = quantize(self.decoder, 2, 3, x - (out_p + out_c), margins)
        speaker = transformer(self.decoder, "timbre_encoder", x.transpose(1, 2)).mean(1)
        return torch.stack([*codes_p, *codes_c, *codes_r], 1), speaker

    def margins(self, wav: Tensor) -> Tensor:
        """Audio [B, S] -> how clearly each code was chosen: gap in cosine to the second-best entry [B, 6, T]."""
        margins: list[Tensor] = []
        self.encode(wav, margins)
        return torch.stack(margins, 1)

    def decode(self, codes: Tensor, speaker: Tensor) -> Tensor:
        """Codes [B, 3 or 6, T] in the order prosody, content, residual, and speaker [B, 256] -> audio [B, S]."""
        x = torch.zeros(())
        names = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
        for (number, layer), row in zip(names[: codes.shape[1]], codes.unbind(1), strict=True):
            key = f"quantizer.{number}.layers.{layer}"
            entry = F.embedding(row, self.decoder[f"{key}._codebook.weight"])
            x = x + F.linear(entry, weight(self.decoder, f"{key}.out_proj"), self.decoder[f"{key}.out_proj.bias"])
        style = F.linear(speaker, self.decoder["timbre_linear.weight"], self.decoder["timbre_linear.bias"])
        gamma, beta = style[:, None].chunk(2, -1)
        x = (gamma * F.layer_norm(x, (256,)) + beta).transpose(1, 2)
        return generator(self.decoder, x)[:, 0]


def generator(state: State, x: Tensor) -> Tensor:
    """Latent [B, 256, T] -> audio [B, 1, 200 T]."""
    x = conv(state, "model.0", x, padding=3)
    for number, stride in enumerate(DECODER_STRIDES, start=1):
        key = f"model.{number}.block"
        x = activation(state, f"{key}.0", x)
        up, bias = weight(state, f"{key}.1"), state[f"{key}.1.bias"]
        padding = math.ceil(stride / 2)
        x = F.conv_transpose1d(x, up, bias, stride=stride, padding=padding, output_padding=stride % 2)
        for unit, dilation in enumerate((1, 3, 9), start=2):
            x = residual_unit(state, f"{key}.{unit}", x, dilation)
    return torch.tanh(conv(state, "model.6", activation(state, "model.5", x), padding=3))

"""FACodec's transformer encoder on one utterance: of timbre, of prosody and, given a voice, the redecoder's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slmtk.codecs.facodec import tables
from slmtk.codecs.facodec.layers import empty
from slmtk.codecs.facodec.packed import PackedConv

WIDTH = tables.WIDTH
HEADS = 4
LAYERS = 4
EPSILON = 1e-5


class Linear(nn.Module):
    """Plain linear layer with bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Weight [outputs, inputs]."""
        super().__init__()
        self.weight = empty(outputs, inputs)
        self.bias = empty(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., inputs] -> [..., outputs]."""
        return F.linear(x, self.weight, self.bias)


class _Packed(Linear):
    """Linear layer of [T, inputs], packed once it is folded."""

    packed: PackedConv

    def fold(self) -> None:
        """Go over to the packed form."""
        self.packed = PackedConv(self.weight[:, :, None], self.bias)
        del self.weight, self.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.packed(x)


class _Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = empty(WIDTH)
        self.bias = empty(WIDTH)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return F.layer_norm(x, (WIDTH,), self.weight, self.bias, EPSILON)


class _ConditionedNorm(nn.Module):
    """Gain and offset come from the speaker vector."""

    def __init__(self) -> None:
        super().__init__()
        self.style = Linear(WIDTH, 2 * WIDTH)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        return modulate(x, self.style(condition))


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = empty(3 * WIDTH, WIDTH)
        self.in_proj_bias = empty(3 * WIDTH)
        self.out_proj = _Packed(WIDTH, WIDTH)

    in_proj: PackedConv

    def fold(self) -> None:
        """Go over to the packed form."""
        self.in_proj = PackedConv(self.in_proj_weight[:, :, None], self.in_proj_bias)
        del self.in_proj_weight, self.in_proj_bias

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.in_proj(x).view(len(x), 3, HEADS, WIDTH // HEADS).permute(1, 2, 0, 3)[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out_proj(mixed[0].transpose(0, 1).reshape(len(x), WIDTH))
        return out


class _PlainConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = empty(4 * WIDTH, WIDTH, 5)
        self.bias = empty(4 * WIDTH)

    packed: PackedConv

    def fold(self) -> None:
        """Go over to the packed form."""
        self.packed = PackedConv(self.weight, self.bias)
        del self.weight, self.bias


class _FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ffn_1 = _PlainConv()
        self.ffn_2 = _Packed(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.ffn_2(self.ffn_1.packed(F.pad(x, (0, 0, 2, 2))).relu_())
        return out


class _Layer(nn.Module):
    def __init__(self, conditioned: bool) -> None:
        super().__init__()
        self.ln_1 = _ConditionedNorm() if conditioned else _Norm()
        self.ln_2 = _ConditionedNorm() if conditioned else _Norm()
        self.self_attn = _Attention()
        self.ffn = _FeedForward()

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.ln_1(x, condition))
        out: Tensor = x + self.ffn(self.ln_2(x, condition))
        return out


class _PositionTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pe", tables.positions())

    pe: Tensor


class Transformer(nn.Module):
    """Four layers, pre-norm, 4 heads of 64, no mask.

    Attributes:
        position: float32 [256], the constant added to every frame. The published modules index their table of
            sinusoids with an utterance's row in the batch, not with time, so that a voice depends on its batch mates;
            here every utterance is row 0, as it is when it comes alone.
    """

    def __init__(self, conditioned: bool = False) -> None:
        """``conditioned``: its norms take gain and offset from a speaker vector."""
        super().__init__()
        self.position_emb = _PositionTable()
        self.layers = nn.ModuleList([_Layer(conditioned) for _ in range(LAYERS)])
        self.last_ln = _ConditionedNorm() if conditioned else _Norm()
        self.register_buffer("position", None, persistent=False)

    position: Tensor

    def fold(self) -> None:
        """Keep the one row of the table that is used."""
        self.position = self.position_emb.pe[0, 0].clone()
        del self.position_emb

    def forward(self, x: Tensor, condition: Tensor | None = None, means: list[Tensor] | None = None) -> Tensor:
        """Return float32 [T, 256] for ``x`` float32 [T, 256].

        ``condition`` is the speaker vector float32 [256] if the norms are conditioned. To ``means``, the mean over time
        of every layer's output is appended.
        """
        x = x + self.position
        for layer in self.layers:
            x = layer(x, condition)
            if means is not None:
                means.append(x.mean(0))
        out: Tensor = self.last_ln(x, condition)
        return out


def modulate(x: Tensor, style: Tensor) -> Tensor:
    """Norm over channels, then gain and offset: x float32 [T, 256], style [512] (gain, offset) -> [T, 256]."""
    gain, offset = style.chunk(2)
    return torch.addcmul(offset, F.layer_norm(x, (WIDTH,), eps=EPSILON), gain)

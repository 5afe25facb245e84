"""FACodec's vector quantiser on one utterance: latent -> codes and the latent they stand for, and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slmtk.codecs.facodec.layers import Projection, empty

CODEBOOK_SIZE = 1024
CODE_WIDTH = 8


class _Codebook(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = empty(CODEBOOK_SIZE, CODE_WIDTH)


class VectorQuantizer(nn.Module):
    """One stream: the nearest of 1,024 directions in 8 dimensions."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        self.in_proj = Projection(256, CODE_WIDTH)
        self.out_proj = Projection(CODE_WIDTH, 256)
        self._codebook = _Codebook()

    def encode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes int64 [T] of ``z`` float32 [T, 256], and the latent they stand for, float32 [T, 256]."""
        e = F.linear(z, self.in_proj.weight, self.in_proj.bias)
        codes = nearest(e, self._codebook.weight)
        # Not the entry itself: the published modules round in this way, and the next layer sees what is left of it.
        q = e + (F.embedding(codes, self._codebook.weight) - e)
        return codes, self._project(q)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latent float32 [T, 256] of ``codes`` int64 [T]."""
        return self._project(F.embedding(codes, self._codebook.weight))

    def _project(self, entries: Tensor) -> Tensor:
        return F.linear(entries, self.out_proj.weight, self.out_proj.bias)


def nearest(e: Tensor, table: Tensor) -> Tensor:
    """Index of the entry of ``table`` [V, D] in the direction nearest to each row of ``e`` [T, D]; first on ties."""
    a, b = F.normalize(e), F.normalize(table)
    distance = a.square().sum(1, keepdim=True) - 2 * a @ b.T + b.square().sum(1)
    return distance.argmin(1)


class ResidualQuantizer(nn.Module):
    """Streams of which each codes what the ones before it left over."""

    def __init__(self, layers: int) -> None:
        """``layers``: number of streams."""
        super().__init__()
        self.layers = nn.ModuleList([VectorQuantizer() for _ in range(layers)])

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes int64 [layers, T] of ``z`` float32 [T, 256] and their latent float32 [T, 256]."""
        total, codes = torch.zeros_like(z), []
        for layer in self.layers:
            assert isinstance(layer, VectorQuantizer)
            found, out = layer.encode(z - total)
            total += out
            codes.append(found)
        return torch.stack(codes), total

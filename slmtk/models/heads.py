"""Speech heads: one hidden state -> the scores of one code. Tokens -> codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MlpHead(nn.Module):
    """Two layers with a hidden width of twice the model's, SiLU between them (METHOD, "Heads")."""

    def __init__(self, width: int, size: int) -> None:
        """``width`` D of the hidden state, ``size`` V of the head's own vocabulary."""
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, size)

    def forward(self, hidden: Tensor) -> Tensor:
        """float [N, D] -> scores float [N, V]."""
        scores: Tensor = self.down(nn.functional.silu(self.up(hidden)))
        return scores


def make_head(kind: str, width: int, size: int) -> nn.Module:
    """Build a head of ``kind`` "linear" or "mlp": float [N, D = width] -> float [N, V = size]."""
    return nn.Linear(width, size) if kind == "linear" else MlpHead(width, size)


class ConcatFusion(nn.Module):
    """Concatenation of a step's H embeddings and an MLP back to the model's width (the paper's text)."""

    def __init__(self, width: int, num_heads: int) -> None:
        """``width`` D of one embedding, ``num_heads`` H of them."""
        super().__init__()
        self.down = nn.Linear(width * num_heads, 2 * width)
        self.out = nn.Linear(2 * width, width)

    def forward(self, embeddings: Tensor) -> Tensor:
        """float [..., H, D] -> float [..., D]."""
        fused: Tensor = self.out(nn.functional.silu(self.down(embeddings.flatten(-2))))
        return fused


class SpeakerProjection(nn.Module):
    """Linear, SiLU, Linear from a speaker vector to an embedding (METHOD, "Speaker-aware generation").

    Vectors are standardised first: a codec's own timbre vector holds log-Hz and cepstra of different scales. The
    statistics are the training set's and are saved with the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, speaker_dim: int, hidden: int, width: int) -> None:
        """``speaker_dim`` of the vector, ``hidden`` of the layer between, ``width`` D of the model."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(speaker_dim))
        self.register_buffer("scale", torch.ones(speaker_dim))
        self.fc1 = nn.Linear(speaker_dim, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, speaker: Tensor) -> Tensor:
        """float [B, speaker_dim] -> float [B, D]."""
        standard = (speaker - self.mean) / self.scale
        projected: Tensor = self.fc2(nn.functional.silu(self.fc1(standard)))
        return projected

"""Speech heads: one hidden state -> the scores of one code. Tokens -> codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slmtk.models.depth import DepthTransformer
from slmtk.models.losses import Losses, join_heads, linear_losses


class MlpHead(nn.Module):
    """Two layers with a hidden width of twice the model's, SiLU between them (METHOD, "Heads")."""

    def __init__(self, width: int, size: int) -> None:
        """``width`` D of the hidden state, ``size`` V of the head's own vocabulary."""
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, size)

    def forward(self, hidden: Tensor) -> Tensor:
        """float [N, D] -> scores float [N, V]."""
        scores: Tensor = self.down(self.before_scores(hidden))
        return scores

    def before_scores(self, hidden: Tensor) -> Tensor:
        """float [N, D] -> float [N, 2 D], what the last layer reads."""
        return nn.functional.silu(self.up(hidden))


def make_head(kind: str, width: int, size: int) -> nn.Module:
    """Build a head of ``kind`` (`slmtk.models.config.HEADS`): float [N, D = width] -> float [N, V = size].

    Of "transformer" and "depth" this is the linear layer behind what all heads share.
    """
    return MlpHead(width, size) if kind == "mlp" else nn.Linear(width, size)


def head_losses(heads: nn.ModuleList, depth: DepthTransformer | None, states: Tensor, targets: Tensor) -> Losses:
    """Losses of all speech heads.

    Args:
        heads: H layers of one kind, `make_head`.
        depth: what stands before them in a "depth" head.
        states: float [N, D].
        targets: int64 [N, H], rows of the heads.

    Returns:
        losses [N, H].
    """
    layers = list(heads)
    if depth is not None:
        return _apart(depth(states, targets).unbind(1), layers, targets)
    # All or none: peft may have put something else in a head's place.
    mlps = [head for head in layers if type(head) is MlpHead]
    if len(mlps) == len(layers):
        return _apart([mlp.before_scores(states) for mlp in mlps], [mlp.down for mlp in mlps], targets)
    return linear_losses(states, layers, targets)


def _apart(states: Sequence[Tensor], layers: Sequence[nn.Module], targets: Tensor) -> Losses:
    """Losses of H layers that each read their own states."""
    columns = targets[..., None].unbind(1)
    return join_heads([linear_losses(s, [layer], t) for s, layer, t in zip(states, layers, columns, strict=True)])


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

    Attributes:
        noise: while training, a vector is drawn towards the mean voice by a random factor from 0 to 1 and gets so many
            standard deviations of normal noise. A model that saw forty voices learns forty points, and fails between
            and around them.
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
        self.noise = 0.0

    def forward(self, speaker: Tensor) -> Tensor:
        """float [B, speaker_dim] -> float [B, D]."""
        standard = (speaker - self.mean) / self.scale
        if self.training and self.noise:
            faded = standard * torch.rand_like(standard[:, :1])
            standard = faded + self.noise * torch.randn_like(standard)
        projected: Tensor = self.fc2(nn.functional.silu(self.fc1(standard)))
        return projected

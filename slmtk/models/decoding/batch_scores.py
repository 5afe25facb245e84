"""Hidden states -> scores of all heads for a batch, with as few matrix products as the heads allow. Tokens -> codes.

Linear heads are one matrix; it is the model's own, whose heads become views of it. Heads that look at each other's
choices ("depth"), and any that are not what training made (wrapped by a library), are asked one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache

from slmtk.models.decoding.cache import Places
from slmtk.models.decoding.check import why_not
from slmtk.models.decoding.linear import Linear
from slmtk.models.decoding.llama import LlamaStack
from slmtk.models.decoding.weights import join_linears, join_rows
from slmtk.models.heads import MlpHead
from slmtk.models.speech_lm import SpeechLM


class Heads(Protocol):
    """What scores codes.

    Attributes:
        at_once: heads that are scored together.
        rows: V of the longest.
    """

    at_once: int
    rows: int

    def scores(self, states: Tensor, first: int, previous: Tensor | None) -> Tensor:
        """Score heads ``first`` to ``first + at_once - 1``, in turn from 0.

        Args:
            states: float [S, D], what speech heads read.
            first: head.
            previous: int64 [S], rows that the head before chose; None for the first.

        Returns:
            float [S, at_once, V], -inf behind a head's own rows; written over by the next call.
        """


def make_heads(model: SpeechLM, slots: int) -> Heads:
    """The fastest heads for ``model`` and ``slots`` utterances; the model's weights are read now."""
    if model.layout.kind == "interleaved":
        return CodeRows(model, slots)
    heads = list(model.heads)
    plain = all(type(head) is nn.Linear for head in heads)
    if model.depth is not None:
        return DepthHeads(model, slots) if plain and not why_not(model.depth.body) else OneByOne(model)
    if plain or all(type(head) is MlpHead for head in heads):
        return StackedHeads(model, slots)
    return OneByOne(model)


class CodeRows:
    """The interleaved layout's scores: the text head's rows of codes and, last, ``<eosp>``."""

    at_once = 1

    def __init__(self, model: SpeechLM, slots: int) -> None:
        """``model`` of the interleaved layout."""
        vocabulary = model.vocabulary
        self.rows = vocabulary.eosp + 1 - vocabulary.first_code
        self._scores = VocabularyRows(model, vocabulary.first_code, vocabulary.eosp + 1, slots)

    def scores(self, states: Tensor, first: int, previous: Tensor | None) -> Tensor:
        """See `Heads.scores`."""
        return self._scores(states)[:, None]


class VocabularyRows:
    """Some rows of the text head: the others, of which there may be 150,000, cost nothing."""

    def __init__(self, model: SpeechLM, first: int, end: int, slots: int) -> None:
        """Rows ``first`` to ``end - 1``; for ``slots`` more than 1 there may be a copy of them, for speed."""
        self._model, self._span = model, slice(first, end)
        layer = model.backbone.get_output_embeddings()
        self._linear: Linear | None = None
        if type(layer) is nn.Linear:
            bias = None if layer.bias is None else layer.bias.detach()[self._span]
            self._linear = Linear(layer.weight.detach()[self._span], bias, slots, [layer], copy=slots > 1)

    def __call__(self, hidden: Tensor) -> Tensor:
        """float [S, D] -> float [S, rows]."""
        return self._model.text_scores(hidden)[:, self._span] if self._linear is None else self._linear(hidden)


class StackedHeads:
    """Linear or MLP heads, all at once."""

    def __init__(self, model: SpeechLM, slots: int) -> None:
        """Read the weights of ``model``'s heads, linear all or `MlpHead` all."""
        heads = list(model.heads)
        sizes = [model.head_size(head) for head in range(len(heads))]
        self.at_once, self.rows = len(heads), max(sizes)
        # Heads of one size stand beside each other in the padded scores; more than two runs are rare.
        self._runs = [(size, len(list(run))) for size, run in groupby(sizes)]
        lengths = [size * count for size, count in self._runs]
        self._up: Linear | None = None
        with torch.inference_mode(False), torch.no_grad():
            mlps = [head for head in heads if isinstance(head, MlpHead)]
            if mlps:
                self._up = join_linears([mlp.up for mlp in mlps], slots, copy=True)
                weight, bias = (join_rows([getattr(mlp.down, part) for mlp in mlps]) for part in ("weight", "bias"))
                self._down = list(zip(torch.split(weight, lengths), torch.split(bias, lengths), strict=True))
            else:
                self._all = join_linears([head for head in heads if isinstance(head, nn.Linear)], slots, copy=True)
        self._lengths = lengths
        shape = (slots, len(heads), self.rows)
        self._scores = torch.full(shape, -torch.inf, dtype=model.dtype, device=model.device)

    def scores(self, states: Tensor, first: int, previous: Tensor | None) -> Tensor:
        """See `Heads.scores`."""
        linear = self._up is None
        parts = torch.split(self._all(states), self._lengths, dim=1) if linear else self._mlp_parts(states)
        if len(parts) == 1:
            return parts[0].view(len(states), self.at_once, self.rows)
        head = 0
        for part, (size, count) in zip(parts, self._runs, strict=True):
            self._scores[:, head : head + count, :size] = part.view(len(states), count, size)
            head += count
        return self._scores

    def _mlp_parts(self, states: Tensor) -> Sequence[Tensor]:
        assert self._up is not None
        between = F.silu(self._up(states)).view(len(states), self.at_once, -1).transpose(0, 1)  # [H, S, 2 D]
        parts, head = [], 0
        for (weight, bias), (size, count) in zip(self._down, self._runs, strict=True):
            each = weight.view(count, size, -1).transpose(1, 2)
            scores = torch.baddbmm(bias.view(count, 1, size), between[head : head + count], each)
            parts.append(scores.transpose(0, 1).flatten(1))
            head += count
        return parts


class DepthHeads:
    """The depth transformer, place by place, for all slots at once."""

    at_once = 1

    def __init__(self, model: SpeechLM, slots: int) -> None:
        """Read the weights of ``model.depth`` and its linear layers."""
        depth = model.depth
        assert depth is not None
        sizes = [model.head_size(head) for head in range(len(model.heads))]
        self.rows = max(sizes)
        self._sizes = sizes
        self._project = join_linears([depth.project], slots, copy=True)
        self._codes = depth.codes.weight.detach()
        self._offsets = [0, *accumulate(sizes[:-1])]
        self._body = LlamaStack(depth.body, slots, len(sizes))
        self._heads = [join_linears([head], slots, copy=True) for head in model.heads if isinstance(head, nn.Linear)]
        self._scores = self._codes.new_full((slots, 1, self.rows), -torch.inf)
        self._projected = self._codes.new_zeros(0)

    def scores(self, states: Tensor, first: int, previous: Tensor | None) -> Tensor:
        """See `Heads.scores`."""
        if previous is None:
            self._projected = self._project(states)
            inputs = self._projected
        else:
            inputs = self._projected + F.embedding(previous + self._offsets[first - 1], self._codes)
        found = self._heads[first](self._body.step(inputs, Places(first, first + 1, None)))
        if self._sizes[first] == self.rows:
            return found[:, None]
        self._scores.fill_(-torch.inf)
        self._scores[:, 0, : self._sizes[first]] = found
        return self._scores


class OneByOne:
    """Any heads, through the model's own `SpeechLM.head_scores`."""

    at_once = 1

    def __init__(self, model: SpeechLM) -> None:
        """``model`` of a layout with heads."""
        self._model = model
        self.rows = max(model.head_size(head) for head in range(len(model.heads)))
        self._cache = DynamicCache()

    def scores(self, states: Tensor, first: int, previous: Tensor | None) -> Tensor:
        """See `Heads.scores`."""
        if first == 0:
            self._cache = DynamicCache()
        found = self._model.head_scores(first, states, previous, self._cache)
        return F.pad(found, (0, self.rows - found.shape[1]), value=-torch.inf)[:, None]


class StepEmbedding:
    """What a step of speech is as the model's next input: `SpeechLM.embed` without its other cases."""

    def __init__(self, model: SpeechLM) -> None:
        """Of ``model``'s table and fusion."""
        self._table, self._fusion = model.get_input_embeddings(), model.fusion

    def __call__(self, ids: Tensor) -> Tensor:
        """int64 [S, H], ids of codes and ``<pad>`` -> float [S, D]."""
        embeddings: Tensor = self._table(ids)
        if embeddings.shape[1] == 1 and self._fusion is None:
            return embeddings[:, 0]
        fused: Tensor = embeddings.mean(dim=1) if self._fusion is None else self._fusion(embeddings)
        return fused

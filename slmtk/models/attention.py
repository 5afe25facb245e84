"""Which attention a model runs on, and rows that hold several examples. Part of tokens -> hidden states."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from slmtk.errors import ConfigError, first_line
from slmtk.models import segments

ATTENTION: Mapping[str, str] = {
    "sdpa": "sdpa",
    "flash": "flash_attention_2",
    "flex": "flex_attention",
    "eager": "eager",
}
"""Our names and those of transformers; "auto" leaves the model as transformers made it (sdpa where it can)."""


def set_attention(transformer: PreTrainedModel, name: str) -> None:
    """Let ``transformer`` attend by ``name``: "auto" or a key of `ATTENTION`.

    Raises:
        ConfigError: unknown name, or the model or this machine cannot do it.
    """
    if name == "auto":
        return
    if name not in ATTENTION:
        raise ConfigError(f"attention {name!r} is unknown; expected one of auto, {', '.join(ATTENTION)}")
    if name == "flex" and not torch.accelerator.is_available():
        raise ConfigError("attention 'flex' cannot be trained on a CPU; use --attention sdpa")
    try:
        transformer.set_attn_implementation(ATTENTION[name])
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"attention {name!r} cannot be used here ({first_line(error)}); use --attention sdpa"
        ) from error


def set_packed_attention(transformer: PreTrainedModel) -> None:
    """Attend within each example of a packed row instead of under a mask over all of it, in place of sdpa alone.

    A model that does not leave its attention to transformers keeps what it has.
    """
    if transformer.config._attn_implementation == "sdpa":
        with contextlib.suppress(ValueError):
            transformer.set_attn_implementation(segments.NAME)


def run_packed(transformer: PreTrainedModel, inputs_embeds: Tensor, position_ids: Tensor, **arguments: Any) -> Any:
    """Run rows of several examples; none of them sees another.

    transformers tells the examples apart by positions that begin again at 0, and makes the mask that the model's kind
    of attention wants. Flash attention is the exception: there it looks for them in a batch of one row alone.

    Args:
        transformer: without a text head.
        inputs_embeds: float [B, L, D].
        position_ids: int64 [B, L], from 0 in each example; each row begins with 0.
        arguments: more of ``transformer``'s.

    Returns:
        its output, with ``last_hidden_state`` [B, L, D].
    """
    if transformer.config._attn_implementation == segments.NAME:
        with segments.without_masks():
            return transformer(
                inputs_embeds=inputs_embeds,
                position_ids=position_ids,
                borders=segments.borders_of(position_ids),
                **{name: value for name, value in arguments.items() if name != "attention_mask"},
            )
    if "flash" not in str(transformer.config._attn_implementation):
        return transformer(inputs_embeds=inputs_embeds, position_ids=position_ids, **arguments)
    flat = transformer(
        inputs_embeds=inputs_embeds.flatten(0, 1)[None], position_ids=position_ids.reshape(1, -1), **arguments
    )
    flat.last_hidden_state = flat.last_hidden_state.view(inputs_embeds.shape)
    return flat


def check_packing(transformer: PreTrainedModel) -> None:
    """Make sure that ``transformer`` heeds the borders within a row: not every architecture does.

    It is run on a row of two made-up examples, and on the second of them alone.

    Raises:
        ConfigError: what stands before the second example changes it.
    """
    width = transformer.get_input_embeddings().embedding_dim
    random = torch.Generator().manual_seed(0)
    row = torch.randn(1, 16, width, generator=random).to(transformer.device, transformer.dtype)
    positions = torch.arange(8, device=row.device).repeat(2)[None]
    training = transformer.training
    transformer.eval()
    with torch.no_grad():
        packed = run_packed(transformer, row, positions, use_cache=False).last_hidden_state[:, 8:]
        alone = transformer(inputs_embeds=row[:, 8:], use_cache=False).last_hidden_state
    transformer.train(training)
    difference = float((packed - alone).abs().max() / alone.abs().max())
    if difference > (1e-3 if transformer.dtype == torch.float32 else 0.05):
        raise ConfigError(
            f"in a packed row a {transformer.config.model_type!r} model sees the example before (its output changes by "
            f"{difference:.1%}); train it with padded batches: leave out --pack-tokens"
        )

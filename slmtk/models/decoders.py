"""Small causal transformers that stand behind a backbone, for heads that are more than a layer. Part of the model."""

from __future__ import annotations

from math import gcd

from torch import nn
from transformers import Qwen2Config, Qwen2Model


def small_decoder(width: int, layers: int) -> Qwen2Model:
    """A causal transformer from float [B, L, D = width] to the same shape, with random weights.

    It is transformers' Qwen2 without its embedding table (pre-norm, rotary positions, SwiGLU, a norm at the end), so
    that key-value caches, packed rows and every kind of attention work as they do in a backbone.
    """
    heads = width // gcd(width, 64)
    config = Qwen2Config(
        vocab_size=1,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=3 * width,
        max_position_embeddings=32_768,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    decoder = Qwen2Model(config)
    decoder.embed_tokens = nn.Identity()  # it is always given embeddings, and a table would be saved for nothing
    return decoder

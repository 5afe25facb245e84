"""Sizes of a model from scratch."""

from __future__ import annotations

import pytest

from slmtk.errors import ConfigError
from slmtk.models.build import tiny_backbone_config


def test_a_size_of_ones_own_is_features_times_layers() -> None:
    config = tiny_backbone_config(600, "256x5")
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (256, 5, 4)
    assert (config.intermediate_size, config.num_key_value_heads, config.vocab_size) == (768, 4, 600)


@pytest.mark.parametrize("size", ["xl", "256", "256x0", "0x4", "100x4", "256x4x2", ""])
def test_a_size_that_means_nothing_is_refused_with_those_that_do(size: str) -> None:
    with pytest.raises(ConfigError, match="xs, s, m, l, or features x layers as in 256x4"):
        tiny_backbone_config(600, size)

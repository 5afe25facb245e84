"""Build a new speech language model, small from scratch or around any causal language model. Dataset -> model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

from slmtk.errors import ConfigError, FormatError, first_line
from slmtk.models.config import SpeechLMConfig
from slmtk.models.speech_lm import SpeechLM
from slmtk.quiet import no_bars

TINY_SIZES: Mapping[str, Mapping[str, int]] = {
    "xs": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
    "s": {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6},
    "m": {"hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 5},
    "l": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8},
}
"""Presets of ``--base tiny``: the Qwen2 architecture, with random weights."""
_OWN_SIZE = re.compile(r"(\d+)x(\d+)")
_HEAD_FEATURES = 64


def tiny_backbone_config(vocabulary_size: int, size: str) -> Qwen2Config:
    """Settings of a Qwen2 model with ``vocabulary_size`` tokens, of preset ``size`` or of "FEATURESxLAYERS".

    Raises:
        ConfigError: there is no such size.
    """
    shape = TINY_SIZES.get(size) or _own_shape(size)
    return Qwen2Config(
        vocab_size=vocabulary_size,
        **shape,
        num_key_value_heads=shape["num_attention_heads"],
        intermediate_size=3 * shape["hidden_size"],
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )


def _own_shape(size: str) -> Mapping[str, int]:
    """Return the shape that "256x4" stands for: 256 features, 4 layers, heads of 64 features."""
    match = _OWN_SIZE.fullmatch(size)
    features, layers = (int(match[1]), int(match[2])) if match else (0, 0)
    if not layers or not features or features % _HEAD_FEATURES:
        raise ConfigError(
            f"size {size!r} is unknown; expected one of {', '.join(TINY_SIZES)}, or features x layers as in 256x4 "
            f"(features a multiple of {_HEAD_FEATURES})"
        )
    return {"hidden_size": features, "num_hidden_layers": layers, "num_attention_heads": features // _HEAD_FEATURES}


def _load_backbone(base: str, revision: str | None) -> PreTrainedModel:
    try:
        with no_bars():
            return AutoModelForCausalLM.from_pretrained(base, revision=revision, dtype="auto")
    except (OSError, ValueError, KeyError) as error:
        where = "folder" if Path(base).is_dir() else "hub id"
        raise FormatError(
            f"--base {base!r}: no causal language model could be loaded from this {where} ({first_line(error)}); "
            "expected 'tiny', a folder with config.json and weights, or a hub id such as Qwen/Qwen2.5-0.5B"
        ) from error


def build_model(
    settings: Mapping[str, Any], vocabulary: Mapping[str, Any], *, base: str, size: str, revision: str | None = None
) -> SpeechLM:
    """Build a model ready for training; its random parts follow torch's global seed.

    Args:
        settings: fields of `SpeechLMConfig` (layout, heads, speaker, weights of the losses).
        vocabulary: `Vocabulary.to_dict` of the dataset.
        base: "tiny", a local folder or a hub id of a causal language model.
        size: preset of "tiny".
        revision: of a hub id.

    Returns:
        float32 model whose embedding table has exactly the vocabulary's rows: a longer matrix of the backbone (rows
        that no token of its tokenizer uses) is cut, new rows are drawn around the mean of the old ones.

    Raises:
        ConfigError: settings unknown or without meaning in their layout, or the base knows fewer tokens than the
            dataset's text tokenizer.
        FormatError: the base cannot be loaded.
    """
    rows = int(vocabulary["size"])
    _check_settings(settings)
    if base == "tiny":
        backbone_config = tiny_backbone_config(rows, size)
        config = SpeechLMConfig(backbone=backbone_config.to_dict(), vocabulary=dict(vocabulary), **settings)
        return SpeechLM(config)
    backbone = _load_backbone(base, revision).float()
    found = backbone.get_input_embeddings().num_embeddings
    if found < int(vocabulary["text_size"]):
        raise ConfigError(
            f"--base {base!r} knows {found} tokens, the dataset's text tokenizer has {vocabulary['text_size']}; "
            f"build the dataset with `--tokenizer {base}`"
        )
    backbone.resize_token_embeddings(int(vocabulary["text_size"]), mean_resizing=False)
    backbone.resize_token_embeddings(rows)
    config = SpeechLMConfig(backbone=backbone.config.to_dict(), vocabulary=dict(vocabulary), **settings)
    return SpeechLM(config, backbone=backbone)


def _check_settings(settings: Mapping[str, Any]) -> None:
    if settings.get("layout") != "interleaved":
        return
    for name, plain in (("head", "linear"), ("fusion", "mean")):
        if settings.get(name, plain) != plain:
            raise ConfigError(
                f"{name} {settings[name]!r} has no meaning in the interleaved layout, where a step is one code and the "
                f"text head predicts it; leave it at {plain!r} or choose the grouped or delayed layout"
            )

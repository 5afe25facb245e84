"""Checkpoints of transformers' codecs, small and with seeded weights, written as the published ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

_HUBERT = {
    "model_type": "hubert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
_ONE_CODEBOOK = {
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "encoder_hidden_size": 1,
    "quantization_dim": 96,
    "semantic_model_config": {
        "model_type": "wav2vec2-bert",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "feature_projection_input_dim": 160,
    },
}


def _joint(ratios: list[int]) -> dict[str, Any]:
    acoustic = {"model_type": "dac", "encoder_hidden_size": 2, "decoder_hidden_size": 64, "hidden_size": 16}
    ratios_both = {"downsampling_ratios": ratios, "upsampling_ratios": ratios}
    return {"codebook_size": 64, "acoustic_model_config": acoustic | ratios_both, "semantic_model_config": _HUBERT}


# Rates and hops are the published ones, so that the networks' edges are; widths and codebooks are small.
TINY: dict[str, dict[str, Any]] = {
    "Encodec": {"num_filters": 2, "hidden_size": 8, "codebook_size": 64, "target_bandwidths": [0.9, 1.8]},
    "Dac": {
        "encoder_hidden_size": 4,
        "decoder_hidden_size": 32,
        "downsampling_ratios": [2, 4, 5, 8],
        "n_codebooks": 4,
        "codebook_size": 64,
    },
    "Mimi": {
        "hidden_size": 16,
        "num_filters": 2,
        "codebook_size": 64,
        "codebook_dim": 8,
        "vector_quantization_hidden_dimension": 8,
        "num_quantizers": 4,
        "upsample_groups": 16,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
    "Xcodec": {**_joint([8, 5, 4, 2]), "target_bandwidths": [0.6, 1.2]},
    "HiggsAudioV2Tokenizer": {**_joint([8, 5, 4, 2, 3]), "codebook_dim": 8, "target_bandwidths": [0.3, 0.6]},
    "Xcodec2": _ONE_CODEBOOK,
    "NeuCodec": _ONE_CODEBOOK,
}


def write_checkpoint(folder: Path, architecture: str, **changes: Any) -> Path:
    """Write config.json and model.safetensors of a small network into ``folder``."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(**TINY[architecture], **changes)
    network = getattr(transformers, f"{architecture}Model")(config)
    with torch.no_grad():
        # New networks have codebooks of zeros: every code would be 0.
        for name, values in [*network.named_buffers(), *network.named_parameters()]:
            if name.endswith((".embed", ".embed_sum", ".codebook.weight")):
                values.normal_(std=0.02 if architecture in ("Encodec", "HiggsAudioV2Tokenizer") else 1.0)
            # New linear layers' outputs are so small that every code would be the middle one.
            elif name.startswith(("fc_encoder.weight", "quantizer.project_in.weight")):
                values.normal_(std=3.0)
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    return folder

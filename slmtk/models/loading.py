"""A model's folder, as trained or packed -> the model with its weights. Before tokens -> codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from slmtk.errors import ConfigError, FormatError, ShapeError, first_line
from slmtk.models.config import SpeechLMConfig
from slmtk.models.int8 import from_int8
from slmtk.models.released_files import read_object
from slmtk.models.speech_lm import SpeechLM
from slmtk.quiet import no_bars
from slmtk.shards.writer import file_sha256

MODEL_INFO = "slmtk.json"
PACKED_WEIGHTS = "packed.safetensors"
"""Weights of 8 bits, in place of model.safetensors, with their digest in the folder's slmtk.json under "packed"."""
SCALE = ":scale"
"""Behind the name of a matrix: its rows' scales."""
PACKED_FORMAT = 1


def load_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> SpeechLM:
    """Load the model that ``slmtk train`` or ``python -m slmtk.models.packed`` wrote into ``folder``.

    Args:
        folder: with config.json and weights.
        dtype: of all parts; packed weights become float32 first.

    Returns:
        the model on the CPU, in eval mode.

    Raises:
        FormatError: a file is missing, damaged or does not fit the others.
    """
    try:
        with no_bars():
            if (folder / PACKED_WEIGHTS).is_file():
                config, state = SpeechLMConfig(**read_object(folder / "config.json")), _read_packed(folder)
                loaded, info = SpeechLM.from_pretrained(
                    None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
                )
            else:
                loaded, info = SpeechLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError, ConfigError, ShapeError) as error:
        raise FormatError(
            f"the model in {folder} cannot be loaded ({first_line(error)}); copy its folder again"
        ) from error
    _check_complete(folder, info)
    model: SpeechLM = loaded
    return model


def _check_complete(folder: Path, info: dict[str, Any]) -> None:
    missing = sorted(str(key) for key in [*info["missing_keys"], *info["mismatched_keys"]])
    if missing:
        raise FormatError(
            f"the model in {folder} lacks {len(missing)} weights, such as {missing[0]}; copy its folder again (a "
            "checkpoint of a LoRA run holds the adapter alone: use the finished model)"
        )


def _read_packed(folder: Path) -> dict[str, Tensor]:
    """The weights of a packed model, matrices float32."""
    path = folder / PACKED_WEIGHTS
    packed = read_object(folder / MODEL_INFO).get("packed")
    if not isinstance(packed, dict) or packed.get("format") != PACKED_FORMAT:
        raise FormatError(
            f"{folder / MODEL_INFO} says 'packed': {packed!r}; this slmtk reads packed models of format {PACKED_FORMAT}"
        )
    if file_sha256(path) != packed.get("sha256"):
        raise FormatError(f"{path} is damaged: its digest is not the one in {MODEL_INFO}; copy the folder again")
    with safe_open(path, "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    scales = {name.removesuffix(SCALE): stored.pop(name) for name in list(stored) if name.endswith(SCALE)}
    return {name: from_int8(value, scales[name]) if name in scales else value for name, value in stored.items()}

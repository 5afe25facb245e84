"""A transformers checkpoint (config.json and safetensors, published or local) -> its network, whole or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slmtk.codecs.weights import Published, locate
from slmtk.errors import FormatError, WeightsError, one_line
from slmtk.quiet import errors_only

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
# Used only when a network is trained with masked inputs; checkpoints come with and without it.
_UNUSED = "masked_spec_embed"


def find_folder(published: Published, checkpoint: Path | None) -> Path:
    """Return the local folder with the checkpoint's files: ``checkpoint`` itself, or where the hub's cache has them.

    Raises:
        WeightsError: they are neither here nor can they be fetched.
    """
    if checkpoint is None:
        paths = [locate(published, name) for name in published.files]
        return paths[0].parent
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint
    for name, found in ((CONFIG_NAME, (folder / CONFIG_NAME).is_file()), (WEIGHTS_NAME, bool(weights_files(folder)))):
        if not found:
            raise WeightsError(f"{folder} holds no {name}; expected the files of {published.repo}")
    return folder


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint (large ones are split), in the order of their names."""
    return sorted(folder.glob("model*.safetensors"))


def read_config(folder: Path, architecture: str) -> Any:
    """Return the transformers configuration in ``folder``.

    Args:
        folder: holds config.json.
        architecture: transformers' name of the configuration's class.

    Raises:
        FormatError: config.json is damaged or of another kind of network.
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    path = folder / CONFIG_NAME
    kind = getattr(transformers, architecture)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.get("model_type") if isinstance(values, dict) else None
        if found != kind.model_type:
            raise FormatError(f"{path} describes a model of type {found!r}; expected {kind.model_type!r}")
        return kind.from_dict(values)
    except (StrictDataclassError, OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path} cannot be used: {one_line(error)}") from error


def load_network(folder: Path, architecture: str) -> Any:
    """Return the network in ``folder``, in float32, ready for inference.

    Raises:
        FormatError: a file is damaged, or tensors are missing or misshapen.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    kind = getattr(transformers, architecture)
    try:
        with errors_only():
            model, report = kind.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise FormatError(f"{folder} cannot be read as {architecture}: {one_line(error)}") from error
    # transformers fills in what is missing with random numbers and goes on; such codes would be noise.
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(_UNUSED))
    if missing:
        raise FormatError(f"{folder} does not fit {architecture}: {len(missing)} tensors missing (first: {missing[0]})")
    if report["mismatched_keys"]:
        name, found, expected = min(report["mismatched_keys"])
        raise FormatError(f"{folder}: {name} is {list(found)}; {CONFIG_NAME} expects {list(expected)}")
    return model.eval().requires_grad_(False)

"""Where tensors live: turns the --device option into a torch device on the way from codes to score."""

from __future__ import annotations

from slmtk.errors import ConfigError


def resolve_device(name: str) -> str:
    """Return "cpu", "cuda:N" or "mps" for ``name``; "auto" takes a GPU if there is one.

    Raises:
        ConfigError: the device is not known or not there.
    """
    import torch

    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name!r} is no device; use cpu, cuda, cuda:N or auto") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {name}: {torch.cuda.device_count()} GPUs are here; use --device cpu or auto")
    return str(device)

"""The checkpoints of an interrupted run: which of them were written to their end."""

from __future__ import annotations

import json
from pathlib import Path

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model_fsdp.bin", "pytorch_model_fsdp_0")
OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_0")


def step_of(checkpoint: Path) -> int:
    """Optimiser steps of ``checkpoint-N``."""
    return int(checkpoint.name.rpartition("-")[2])


def last_checkpoint(folder: Path, processes: int = 1, *, before: int | None = None) -> Path | None:
    """The latest checkpoint in ``folder`` that was written to its end; one that a kill cut short is passed over.

    Args:
        folder: of ``checkpoint-N`` folders; it need not be there.
        processes: that trained together; each has left the state of its random numbers.
        before: only checkpoints of fewer steps.

    Returns:
        the checkpoint, or None.
    """
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    if before is not None:
        found = [path for path in found if step_of(path) < before]
    for path in sorted(found, key=step_of, reverse=True):
        if _is_whole(path, processes):
            return path
    return None


def _is_whole(path: Path, processes: int) -> bool:
    names = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    names.append("scheduler.pt")
    present = all((path / name).is_file() for name in names)
    if not present or not any((path / name).exists() for name in WEIGHTS):
        return False
    if not any((path / name).exists() for name in OPTIMIZERS):
        return False
    try:  # the library writes it last
        json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True

"""The voice that comes with slmtk: the small packed model that `slmtk synth` speaks with if none is named."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

FOLDER = "model"
"""Of this package: written by ``python -m slmtk.models.packed``."""

MAX_BYTES = 16_000_000
"""What the folder may weigh: everybody who installs slmtk downloads it."""


def built_in() -> Path | None:
    """The folder of the built-in model; None if this installation has none."""
    folder = files(__name__).joinpath(FOLDER)
    # Installers unpack wheels; a package inside of a zip file is no folder that a model can be loaded from.
    return folder if isinstance(folder, Path) and (folder / "slmtk.json").is_file() else None

"""Find codecs, speaker encoders, recognisers and metrics by name, ours and others', without importing them."""

from __future__ import annotations

import difflib
import functools
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from slmtk.errors import MissingDependencyError, PluginError

GROUPS = ("slmtk.codecs", "slmtk.speakers", "slmtk.asr", "slmtk.metrics")

# Import name -> what `pip install` has to be given for it; a name that is not here is installed by itself.
_MENDED_BY = {
    "pyworld": "slmtk[embedded]",
    "pocketsphinx": "slmtk[embedded]",
    "espeakng_loader": "slmtk[embedded]",
    "speechmos": "slmtk[quality]",
    "onnxruntime": "slmtk[quality]",
    "pesq": "slmtk[quality]",
    "pystoi": "slmtk[quality]",
    "peft": "slmtk[peft]",
    "ray": "slmtk[ray]",
    "zhconv": "slmtk[chinese]",
    "nemo_text_processing": "slmtk[nemo]",
    "funasr": "slmtk[funasr]",
    "faster_whisper": "slmtk[faster-whisper]",
    "tensorboard": "slmtk[track]",
    "wandb": "slmtk[track]",
    # webrtcvad (through resemblyzer) and pyworld import it; setuptools 81 dropped it.
    "pkg_resources": "setuptools<81",
}


def mended_by(module: str) -> str:
    """What to hand to ``pip install`` so that ``import module`` works, for example "slmtk[embedded]"."""
    root = module.split(".")[0]
    return _MENDED_BY.get(root, root)


def available(group: str) -> dict[str, EntryPoint]:
    """Entry points of ``group`` by name, sorted; nothing is imported.

    Raises:
        PluginError: two installed packages offer the same name, or the group is not one of `GROUPS`.
    """
    if group not in GROUPS:
        raise PluginError(f"no plug-in group {group!r}; expected one of {', '.join(GROUPS)}")
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise PluginError(
                f"two plug-ins of {group} are called {point.name!r}: {other.value} and {point.value}; uninstall one"
            )
        found[point.name] = point
    return found


def load(group: str, name: str) -> Any:
    """Import and return the object that ``group`` offers as ``name``.

    Raises:
        PluginError: the name is unknown (the nearest one is named), or the package behind it does not hold what it
            promises.
        MissingDependencyError: a package that the plug-in imports is not installed.
    """
    points = available(group)
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PluginError(f"no {group.split('.')[1]} plug-in {name!r}; {hint}available: {', '.join(points) or 'none'}")
    point = points[name]
    dangling = f"plug-in {name!r} of {group} points at {point.value!r}, which does not exist; reinstall its package"
    try:
        module = importlib.import_module(point.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if f"{point.module}.".startswith(f"{missing}."):
            raise PluginError(dangling) from error
        if missing.split(".")[0] == "slmtk":
            raise
        raise MissingDependencyError(
            f"{name!r} needs the package {missing!r}, which is not installed: pip install '{mended_by(missing)}'"
        ) from error
    try:
        return functools.reduce(getattr, point.attr.split("."), module)
    except AttributeError as error:
        raise PluginError(dangling) from error

"""Find codecs, speaker encoders, recognisers and metrics by name, ours and others', without importing them."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from slmtk.errors import MissingDependencyError, PluginError

GROUPS = ("slmtk.codecs", "slmtk.speakers", "slmtk.asr", "slmtk.metrics")


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
        PluginError: the name is unknown (the nearest one is named).
        MissingDependencyError: a package that the plug-in imports is not installed.
    """
    points = available(group)
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PluginError(f"no {group.split('.')[1]} plug-in {name!r}; {hint}available: {', '.join(points) or 'none'}")
    try:
        return points[name].load()
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "slmtk":
            raise
        raise MissingDependencyError(
            f"{name!r} needs the package {error.name!r}, which is not installed: pip install 'slmtk[embedded]'"
        ) from error

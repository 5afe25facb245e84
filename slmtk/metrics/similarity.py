"""Vectors of speakers -> how alike two voices are: cosine similarity, for scores of whose voice is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slmtk.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor


def cosine(first: Tensor, second: Tensor) -> float:
    """Return the cosine, -1 to 1, of the angle between two speaker vectors [D] of one encoder; any length will do.

    Raises:
        ShapeError: the vectors differ in shape, are not vectors, or one of them is zero.
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise ShapeError(f"vectors {list(first.shape)} and {list(second.shape)}; expected two [D] of one encoder")
    lengths = float(first.double().norm() * second.double().norm())
    if not lengths > 0:
        raise ShapeError("a speaker vector is zero; it points nowhere, so that nothing is similar to it")
    return min(1.0, max(-1.0, float(first.double() @ second.double()) / lengths))

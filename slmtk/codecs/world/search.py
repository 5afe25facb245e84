"""Vectors -> indices of the nearest centroids: one codebook, or two that add up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slmtk.codecs.world.analysis import Floats

Ints = NDArray[np.int64]

# Frames at a time: their distances to 1,024 centroids take 16 MB.
_CHUNK = 2048


def nearest(vectors: Floats, centroids: Floats) -> Ints:
    """Return the index of the nearest of ``centroids`` [N, F] for each of ``vectors`` [T, F]: int64 [T]."""
    return candidates(vectors, centroids, 1)[:, 0]


def candidates(vectors: Floats, centroids: Floats, count: int) -> Ints:
    """Return the ``count`` nearest centroids of each vector, int64 [T, count], in no order."""
    half_norms = (centroids**2).sum(axis=1) / 2
    found = np.empty((len(vectors), count), dtype=np.int64)
    for start in range(0, len(vectors), _CHUNK):
        # |v - c|^2 / 2 less the part that is the same for all centroids
        distances = half_norms - vectors[start : start + _CHUNK] @ centroids.T
        if count == 1:
            found[start : start + _CHUNK, 0] = distances.argmin(axis=1)
        else:
            found[start : start + _CHUNK] = np.argpartition(distances, count - 1, axis=1)[:, :count]
    return found


def nearest_sums(vectors: Floats, first: Floats, second: Floats, tries: int) -> tuple[Ints, Ints]:
    """Return indices (i, j), int64 [T] each, such that ``first[i] + second[j]`` is near each vector.

    The ``tries`` nearest of ``first`` are each completed by the best of ``second``, and the best sum is taken.
    """
    best = np.full(len(vectors), np.inf)
    chosen = np.zeros((2, len(vectors)), dtype=np.int64)
    for index in candidates(vectors, first, tries).T:
        rest = vectors - first[index]
        other = nearest(rest, second)
        error = ((rest - second[other]) ** 2).sum(axis=1)
        better = (error < best) | ((error == best) & (index < chosen[0]))
        best = np.where(better, error, best)
        chosen = np.where(better, np.stack([index, other]), chosen)
    return chosen[0], chosen[1]

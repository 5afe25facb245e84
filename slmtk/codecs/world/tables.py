"""What the codec learned from speech, as numbers in one safetensors file: codebooks, and how voices differ."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from slmtk.codecs.world.analysis import ORDER, Floats
from slmtk.errors import FormatError

PATH = Path(__file__).with_name("codebooks.safetensors")
CODES = 1024
SHAPE = ORDER - 1
"""Coefficients that say the envelope's shape."""


@dataclass(frozen=True)
class Tables:
    """The codec's weights, float64 in memory.

    An average voice's centroid i of stream content1 is ``content1[i]``; a voice with loadings v (float64 [R]) has
    ``content1[i] + basis[sound[i]] @ v`` in its place.

    Attributes:
        content1: [1024, 23] first-stage centroids, relative to the utterance's mean.
        content2: [1024, 23] second-stage centroids of what the first leaves.
        sound: [1024] which of the G sounds a centroid of content1 belongs to.
        sounds: [G, 23] centroids of the sounds, of an average voice.
        basis: [G, 23, R] how each sound moves with each of R directions in which voices differ.
        noise: [23] variance within a sound, once the voice is known.
        mean: [23] mean shape over all speech, for utterances without any.
        log_pitch: [1] mean log pitch (Hz) over all speech.
        smoothing: [23, 5] filter over frames -2..2 that undoes some of the quantisation noise, per coefficient.
    """

    content1: Floats
    content2: Floats
    sound: Floats
    sounds: Floats
    basis: Floats
    noise: Floats
    mean: Floats
    log_pitch: Floats
    smoothing: Floats

    @property
    def num_loadings(self) -> int:
        """R, the directions in which voices differ."""
        return int(self.basis.shape[2])

    def adapted(self, loadings: Floats) -> Floats:
        """Centroids [1024, 23] of stream content1 for a voice with ``loadings`` [R]."""
        return self.content1 + (self.basis @ loadings)[self.sound.astype(np.int64)]

    def to_bytes(self) -> bytes:
        """The safetensors file: float16, but for the whole numbers; equal tables give equal bytes."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return save({name: np.ascontiguousarray(a, dtype=_dtype(name)) for name, a in sorted(arrays.items())})


def _dtype(name: str) -> type[np.generic]:
    return np.int16 if name == "sound" else np.float16


def load_tables(path: Path = PATH) -> tuple[Tables, str]:
    """Read tables and the file's sha256.

    Raises:
        FormatError: the file is missing, not safetensors, or holds other tables than this codec's.
    """
    try:
        data = path.read_bytes()
        arrays = {name: array.astype(np.float64) for name, array in load(data).items()}
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path} cannot be read as the tables of codec 'world': {error}") from error
    expected = {field.name for field in fields(Tables)}
    if set(arrays) != expected:
        raise FormatError(f"{path} holds {sorted(arrays)}; the tables of codec 'world' are {sorted(expected)}")
    tables = Tables(**arrays)
    _check(tables, path)
    return tables, hashlib.sha256(data).hexdigest()


def _check(tables: Tables, path: Path) -> None:
    groups, loadings = len(tables.sounds), tables.basis.shape[-1]
    shapes = {
        "content1": (CODES, SHAPE),
        "content2": (CODES, SHAPE),
        "sound": (CODES,),
        "sounds": (groups, SHAPE),
        "basis": (groups, SHAPE, loadings),
        "noise": (SHAPE,),
        "mean": (SHAPE,),
        "log_pitch": (1,),
        "smoothing": (SHAPE, 5),
    }
    for name, shape in shapes.items():
        found = getattr(tables, name)
        if found.shape != shape or not np.isfinite(found).all():
            raise FormatError(f"{path}: table {name!r} is {list(found.shape)}; expected {list(shape)}, all finite")
    if tables.sound.min() < 0 or tables.sound.max() >= groups:
        raise FormatError(f"{path}: table 'sound' names sounds outside 0..{groups - 1}")

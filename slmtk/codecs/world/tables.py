"""What the codec learned from speech, as numbers in one safetensors file: codebooks, and the average voice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
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
SOUNDS = 16
LOUDNESS = np.linspace(0.0, 1.0, 9)
"""Which quantiles of voiced loudness a voice is known by."""
_TAPS = 5
# Assignments to sounds are this much softer than Gaussians of the sounds' variance would make them: neighbouring frames
# say nearly the same, and 23 coefficients that are not independent would else all but choose a single sound.
_SOFTNESS = 4.0


@dataclass(frozen=True)
class Tables:
    """The codec's weights, float64 in memory. "Shapes" are cepstra 1..23, brought to the average voice.

    Attributes:
        content1: [1024, 23] first-stage centroids of shapes.
        content2: [1024, 23] second-stage centroids of what the first leaves.
        sounds: [16, 23] kinds of sound, of which every voice has its own colour.
        sound_variance: [1] mean squared distance, per coefficient, of shapes to their sound.
        voiced: [23] mean cepstrum 1..23 of voiced speech of the average voice.
        unvoiced: [23] that of unvoiced speech.
        covariance: [23, 23] of voiced cepstra within a speaker.
        loudness: [9] log power (nat) against the level, at the quantiles `LOUDNESS` of voiced speech; rising.
        pitch: [2] median log pitch (Hz), and mean absolute deviation of log pitch from it.
        level: [1] mean level (nat).
        smoothing: [23, 5] filter over frames -2..2 that undoes some of the quantisation noise, per coefficient.
    """

    content1: Floats
    content2: Floats
    sounds: Floats
    sound_variance: Floats
    voiced: Floats
    unvoiced: Floats
    covariance: Floats
    loudness: Floats
    pitch: Floats
    level: Floats
    smoothing: Floats

    def sound_shares(self, shapes: Floats, shifts: Floats | None = None) -> Floats:
        """How much of each of the 16 sounds is in ``shapes`` [T, 23], [T, 16], for a voice that shifts them so."""
        centres = self.sounds if shifts is None else self.sounds + shifts
        distances = (centres**2).sum(axis=1) / 2 - shapes @ centres.T
        shares = np.exp((distances.min(axis=1, keepdims=True) - distances) / (_SOFTNESS * self.sound_variance))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    @cached_property
    def centroid_shares(self) -> Floats:
        """Sounds in each centroid of content1: [1024, 16]."""
        return self.sound_shares(self.content1)

    def coloured(self, shifts: Floats) -> Floats:
        """Centroids [1024, 23] of stream content1 for a voice with ``shifts`` [16, 23]."""
        return self.content1 + self.centroid_shares @ shifts

    @cached_property
    def roots(self) -> tuple[Floats, Floats]:
        """Symmetric square root of ``covariance`` and its inverse, [23, 23] each."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = np.sqrt(values)
        return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T

    def to_bytes(self) -> bytes:
        """The safetensors file, float16 for codebooks and float32 else; equal tables give equal bytes."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return save({name: np.ascontiguousarray(a, dtype=_dtype(name)) for name, a in sorted(arrays.items())})


_SHAPES = {
    "content1": (CODES, SHAPE),
    "content2": (CODES, SHAPE),
    "sounds": (SOUNDS, SHAPE),
    "sound_variance": (1,),
    "voiced": (SHAPE,),
    "unvoiced": (SHAPE,),
    "covariance": (SHAPE, SHAPE),
    "loudness": (len(LOUDNESS),),
    "pitch": (2,),
    "level": (1,),
    "smoothing": (SHAPE, _TAPS),
}


def _dtype(name: str) -> type[np.generic]:
    return np.float16 if name.startswith("content") else np.float32


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
    if set(arrays) != set(_SHAPES):
        raise FormatError(f"{path} holds {sorted(arrays)}; the tables of codec 'world' are {sorted(_SHAPES)}")
    for name, shape in _SHAPES.items():
        found = arrays[name]
        if found.shape != shape or not np.isfinite(found).all():
            raise FormatError(f"{path}: table {name!r} is {list(found.shape)}; expected {list(shape)}, all finite")
    tables = Tables(**arrays)
    if np.linalg.eigvalsh(tables.covariance)[0] <= 0 or (np.diff(tables.loudness) <= 0).any():
        raise FormatError(f"{path}: table 'covariance' or 'loudness' is not one; make the tables again")
    return tables, hashlib.sha256(data).hexdigest()

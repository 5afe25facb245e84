"""Features and timbre <-> codes: content1, content2 and prosody, 1,024 codes each.

A prosody code is 32 * pitch + level, both of the average voice. Pitch 0 is unvoiced, 1..31 are -0.75..0.75 nat from the
median in steps of 0.05. Level 0 is silence, 1 is faint (-10 nat of power, 43 dB below the speaker's level), 2..31 are
-8.4..1.75 nat in steps of 0.35 (1.5 dB).
"""

from __future__ import annotations

import numpy as np

from slmtk.codecs.world.analysis import Features, Floats
from slmtk.codecs.world.search import Ints, nearest_sums
from slmtk.codecs.world.tables import Tables
from slmtk.codecs.world.timbre import QUIETEST, SILENT, Mask, Timbre, Voice

_LEVELS = 32
_PITCH_STEP, _PITCH_CENTRE = 0.05, 16
_LEVEL_STEP, _LOUDEST = 0.35, 1.75
_FAINT = -10.0
SILENCE = -36.0
"""Mean log power (nat) of decoded silence: far below one step of 16 bits."""
_TRIES = 4
_MEAN_TRIES = 16  # so that the mean of one code is that code, which need not be among the nearest to its own sum


def quantize(features: Features, timbre: Timbre, tables: Tables) -> Ints:
    """Return codes int64 [3, T] of an utterance, given its timbre."""
    voice = Voice(timbre, tables)
    shapes = voice.shapes_to_average(features.cepstrum[:, 1:], features.pitch > 0)
    content1, content2 = nearest_sums(shapes, tables.coloured(timbre.shifts), tables.content2, _TRIES)
    return np.stack([content1, content2, _prosody(features, voice)])


def _prosody(features: Features, voice: Voice) -> Ints:
    voiced = features.pitch > 0
    height = voice.height(np.where(voiced, features.pitch, 100.0))
    pitch = np.clip(np.rint(height / _PITCH_STEP) + _PITCH_CENTRE, 1, 2 * _PITCH_CENTRE - 1)
    power = features.cepstrum[:, 0]
    relative = voice.loudness_to_average(power)
    level = np.clip(np.rint((relative - _LOUDEST) / _LEVEL_STEP) + _LEVELS - 1, 2, _LEVELS - 1)
    level = np.where(relative < (_FAINT + _level_value(2)) / 2, 1, level)
    silent = (relative < SILENT) | (power < QUIETEST)
    return np.where(voiced & ~silent, pitch, 0).astype(np.int64) * _LEVELS + np.where(silent, 0, level).astype(np.int64)


def average(probabilities: Floats, tables: Tables) -> Ints:
    """Return the codes nearest to the mean of all: int64 [N, 3].

    Shapes are averaged, of either stream, and quantised again. A frame is voiced if that is the likelier, at the median
    of the voiced pitches; its level is the median of all levels, so that a few louder ones do not raise it.

    Args:
        probabilities: [N, 3, 1024], each row's sum 1.
        tables: the codec's.
    """
    shapes = probabilities[:, 0] @ tables.content1 + probabilities[:, 1] @ tables.content2
    content1, content2 = nearest_sums(shapes, tables.content1, tables.content2, _MEAN_TRIES)
    grid = probabilities[:, 2].reshape(-1, 2 * _PITCH_CENTRE, _LEVELS)
    level = _median(grid.sum(axis=1))
    pitches = grid[:, 1:, 1:].sum(axis=2)
    is_voiced = (pitches.sum(axis=1) > 0.5) & (level > 0)
    return np.column_stack([content1, content2, np.where(is_voiced, 1 + _median(pitches), 0) * _LEVELS + level])


def _median(weights: Floats) -> Ints:
    sums = weights.cumsum(axis=1)
    return np.asarray((sums < sums[:, -1:] / 2).sum(axis=1), dtype=np.int64)


def _level_value(level: int) -> float:
    return _LOUDEST + (level - (_LEVELS - 1)) * _LEVEL_STEP


def dequantize(codes: Ints, timbre: Timbre, tables: Tables) -> Features:
    """Return the features that ``codes`` [3, T] stand for in the voice ``timbre``."""
    voice = Voice(timbre, tables)
    pitch, level = codes[2] // _LEVELS, codes[2] % _LEVELS
    sounding = voiced(codes)
    average = smooth(tables.coloured(timbre.shifts)[codes[0]] + tables.content2[codes[1]], tables.smoothing)
    shapes = voice.shapes_from_average(average, sounding)
    values = np.array([SILENT, _FAINT, *(_level_value(index) for index in range(2, _LEVELS))])
    power = np.where(level > 0, voice.loudness_from_average(values[level]), SILENCE)
    hertz = voice.pitch((pitch - _PITCH_CENTRE) * _PITCH_STEP)
    return Features(np.column_stack([power, shapes]), np.where(sounding, hertz, 0.0))


def voiced(codes: Ints) -> Mask:
    """Which frames of codes [3, T] are voiced, bool [T]."""
    return np.asarray((codes[2] // _LEVELS > 0) & (codes[2] % _LEVELS > 0))


def smooth(shapes: Floats, smoothing: Floats) -> Floats:
    """Filter each column of ``shapes`` [T, 23] over frames with its row of ``smoothing`` [23, 5]; ends are repeated."""
    reach = smoothing.shape[1] // 2
    padded = np.pad(shapes, ((reach, reach), (0, 0)), mode="edge")
    return np.asarray(sum(padded[k : k + len(shapes)] * smoothing[:, k] for k in range(smoothing.shape[1])))

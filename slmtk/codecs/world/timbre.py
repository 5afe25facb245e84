"""Features of an utterance -> its speaker vector: how its voice differs from the average one.

Taking out mean and pitch alone leaves the voice in the codes: codes of A with the mean and pitch of B still sounded
like A to a speaker encoder in four pairs of five. So the spread of the spectrum, the loudness of voiced speech, the
range of pitch and the colour of each kind of sound are taken out as well, each drawn towards the average voice where an
utterance is too short to tell. Sources: covariance alignment (Sun, Feng, Saenko 2016); MAP adaptation of means
(Reynolds, Quatieri, Dunn 2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmtk.codecs.world.analysis import Features, Floats
from slmtk.codecs.world.tables import LOUDNESS, SHAPE, SOUNDS, Tables

Mask = NDArray[np.bool_]

QUIETEST = -24.0
"""Mean log power (nat) below which a frame is silence: 13 dB under noise of one step of 16 bits (about -21)."""
SPREAD = 16
"""Coefficients whose covariance belongs to the voice; of the others it is the variance alone."""

# nat of power below the level at which a frame stops to count and starts to count fully
_FAINT, _CLEAR = -7.0, -3.0
# How many frames of an average voice each estimate begins with, for long utterances. What is said averages out over
# seconds only: a voice estimated from one word holds that word, and takes it out of the codes.
_MEAN_PRIOR, _SPREAD_PRIOR, _SHIFT_PRIOR, _MELODY_PRIOR = 10.0, 20.0, 1.0, 10.0
_ENOUGH = 160.0
_ITERATIONS = 3
_UPPER = np.triu_indices(SPREAD, 1)
# No voice's pitch or spectrum is taken to vary more than e times as much or as little as the average one's; a vector
# that comes from elsewhere than an utterance may say so.
_LIMIT = 1.0
VECTOR = 3 + len(LOUDNESS) + 2 * SHAPE + SHAPE + len(_UPPER[0]) + SOUNDS * SHAPE
"""Width of the speaker vector."""


@dataclass(frozen=True)
class Timbre:
    """How a voice, and its loudness, differ from the average: all zeros is the average voice.

    Attributes:
        level: log power (nat) of the loud parts of the speech.
        log_pitch: median log pitch of voiced speech, log Hz.
        melody: log of how much pitch moves.
        loudness: float64 [9], quantiles of log power of voiced speech.
        voiced, unvoiced: float64 [23], mean shapes of the envelope.
        spread: float64 [23, 23], symmetric: matrix logarithm of the voiced covariance in units of the average one.
        shifts: float64 [16, 23], how each kind of sound differs beyond all that.
    """

    level: float
    log_pitch: float
    melody: float
    loudness: Floats
    voiced: Floats
    unvoiced: Floats
    spread: Floats
    shifts: Floats

    def to_vector(self) -> Floats:
        """float64 [`VECTOR`]: the attributes in their order, of ``spread`` the diagonal and half of the rest."""
        spread = [np.diag(self.spread), self.spread[_UPPER]]
        scalars = [self.level, self.log_pitch, self.melody]
        return np.concatenate([scalars, self.loudness, self.voiced, self.unvoiced, *spread, self.shifts.ravel()])

    @classmethod
    def from_vector(cls, vector: Floats) -> Timbre:
        """Inverse of `to_vector`."""
        sizes = (3, len(LOUDNESS), SHAPE, SHAPE, SHAPE, len(_UPPER[0]))
        scalars, loudness, voiced, unvoiced, diagonal, rest, shifts = np.split(vector, np.cumsum(sizes))
        spread = np.diag(diagonal)
        spread[_UPPER] = rest
        spread.T[_UPPER] = rest
        level, log_pitch, melody = (float(value) for value in scalars)
        return cls(level, log_pitch, melody, loudness, voiced, unvoiced, spread, shifts.reshape(SOUNDS, SHAPE))


class Voice:
    """A timbre at work: brings shapes, pitch and loudness to the average voice, and back."""

    def __init__(self, timbre: Timbre, tables: Tables) -> None:
        """Work out what both directions need."""
        self._timbre, self._tables = timbre, tables
        values, vectors = np.linalg.eigh(timbre.spread)
        values = np.exp(np.clip(values, -2 * _LIMIT, 2 * _LIMIT) / 2)
        root, inverse = tables.roots
        self._wider = inverse @ (vectors * values) @ vectors.T @ root
        self._narrower = inverse @ (vectors / values) @ vectors.T @ root
        # Knots of the way between the voice's loudness and the average one's; silence stays silence.
        own = np.maximum.accumulate(tables.loudness + timbre.loudness + 1e-3 * np.arange(len(LOUDNESS)))
        self._loudness = np.concatenate([own[:1] - 1e3, [min(SILENT, own[0] - 1.0)], own, own[-1:] + 1e3])
        average = tables.loudness
        self._average = np.concatenate([average[:1] - 1e3, [SILENT], average, average[-1:] + 1e3])
        self._pitch = tables.pitch[0] + timbre.log_pitch
        self._melody = float(np.exp(np.clip(timbre.melody, -_LIMIT, _LIMIT)))
        self.level = float(tables.level[0]) + timbre.level

    def shapes_to_average(self, shapes: Floats, voiced: Mask) -> Floats:
        """Shapes [T, 23] of this voice, and where it is voiced [T] -> those of the average voice."""
        own, average = self._timbre, self._tables
        return np.where(
            voiced[:, None],
            (shapes - average.voiced - own.voiced) @ self._narrower + average.voiced,
            shapes - own.unvoiced,
        )

    def shapes_from_average(self, shapes: Floats, voiced: Mask) -> Floats:
        """Inverse of `shapes_to_average`."""
        own, average = self._timbre, self._tables
        return np.where(
            voiced[:, None],
            (shapes - average.voiced) @ self._wider + average.voiced + own.voiced,
            shapes + own.unvoiced,
        )

    def height(self, pitch: Floats) -> Floats:
        """Pitch in Hz, all positive -> nat above the median, as far as the average voice would have gone."""
        return np.asarray((np.log(pitch) - self._pitch) / self._melody)

    def pitch(self, height: Floats) -> Floats:
        """Inverse of `height`."""
        return np.asarray(np.exp(height * self._melody + self._pitch))

    def loudness_to_average(self, power: Floats) -> Floats:
        """Log power (nat) -> what the average voice has against its level."""
        return np.asarray(np.interp(power - self.level, self._loudness, self._average))

    def loudness_from_average(self, relative: Floats) -> Floats:
        """Inverse of `loudness_to_average`."""
        return np.asarray(np.interp(relative, self._average, self._loudness)) + self.level


SILENT = -13.0
"""Log power against the level (nat) of the average voice below which a frame is silent."""


def speech_level(power: Floats) -> float:
    """Level (nat) of the louder tenth of the frames that are not pauses; `QUIETEST` if all is silence.

    Args:
        power: float64 [T], mean log power of each frame. Pauses may be any part of it below 99 %.
    """
    top = float(np.percentile(power, 99.5))
    return max(
        QUIETEST, float(np.percentile(power[power > top + _FAINT], 90)) if (power > QUIETEST).any() else QUIETEST
    )


def speech_weights(power: Floats, level: float) -> Floats:
    """How much each frame counts as speech, 0 to 1, float64 [T]."""
    weights = np.clip((power - level - _FAINT) / (_CLEAR - _FAINT), 0.0, 1.0)
    return np.where(power > QUIETEST, weights, 0.0)


def estimate_timbre(features: Features, tables: Tables) -> Timbre:
    """Return the timbre of an utterance; silence gives the average voice at the lowest level."""
    power, shapes = features.cepstrum[:, 0], features.cepstrum[:, 1:]
    level = speech_level(power)
    weights = speech_weights(power, level)
    sounding = features.pitch > 0
    voiced, unvoiced = weights * sounding, weights * ~sounding
    clear = voiced > 0
    doubt = 1 + (_ENOUGH / max(float(weights.sum()), 1.0)) ** 2
    log_pitch, melody = 0.0, 0.0
    loudness = np.zeros(len(LOUDNESS))
    if clear.any():
        heights = np.log(features.pitch[clear])
        median = float(np.median(heights))
        log_pitch = median - tables.pitch[0]
        prior = doubt * _MELODY_PRIOR
        moves = np.abs(heights - median).sum() + prior * tables.pitch[1]
        melody = float(np.clip(np.log(moves / (clear.sum() + prior) / tables.pitch[1]), -_LIMIT, _LIMIT))
        share = clear.sum() / (clear.sum() + prior)
        loudness = share * (np.quantile(power[clear] - level, LOUDNESS) - tables.loudness)
    timbre = Timbre(
        level - float(tables.level[0]),
        log_pitch,
        melody,
        loudness,
        _mean_difference(shapes, voiced, tables.voiced, _MEAN_PRIOR),
        _mean_difference(shapes, unvoiced, tables.unvoiced, _MEAN_PRIOR),
        _spread(shapes, voiced, tables, doubt * _SPREAD_PRIOR),
        np.zeros((SOUNDS, SHAPE)),
    )
    average = Voice(timbre, tables).shapes_to_average(shapes, sounding)
    return Timbre(**{**vars(timbre), "shifts": estimate_shifts(average, weights, tables, doubt * _SHIFT_PRIOR)})


def _mean_difference(shapes: Floats, weights: Floats, average: Floats, prior: float) -> Floats:
    return np.asarray(weights @ (shapes - average) / (weights.sum() + prior))


def _spread(shapes: Floats, weights: Floats, tables: Tables, prior: float) -> Floats:
    total = weights.sum()
    centred = shapes - weights @ shapes / max(total, 1e-9)
    _, inverse = tables.roots
    scaled = centred @ inverse
    covariance = ((scaled * weights[:, None]).T @ scaled + prior * np.eye(SHAPE)) / (total + prior)
    variances = np.log(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance[:SPREAD, :SPREAD])
    spread = np.diag(variances)
    spread[:SPREAD, :SPREAD] = (vectors * np.log(values)) @ vectors.T
    return np.asarray(spread)


def estimate_shifts(shapes: Floats, weights: Floats, tables: Tables, prior: float) -> Floats:
    """Return how a voice colours each sound, float64 [16, 23]: frames are shared out among the sounds, in turns.

    Args:
        shapes: float64 [T, 23], brought to the average voice but for the shifts.
        weights: float64 [T], how much a frame counts.
        tables: only the sounds are used.
        prior: frames of each sound in the average voice's colour.
    """
    shifts = np.zeros((SOUNDS, SHAPE))
    for _ in range(_ITERATIONS):
        shares = tables.sound_shares(shapes, shifts) * weights[:, None]
        counts = shares.sum(axis=0)[:, None]
        shifts = (shares.T @ shapes - counts * tables.sounds) / (counts + prior)
    return shifts

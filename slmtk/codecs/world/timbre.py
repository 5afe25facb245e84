"""Features of an utterance -> its speaker vector: level, pitch, mean envelope and how each sound differs from average.

Taking out the mean alone leaves the voice in the codes (codes of A with the mean and pitch of B still sounded like A
to a speaker encoder in two pairs of three). So the first codebook's centroids move with the voice along a few learned
directions, as the Gaussians of a speech recogniser do. Source: eigenvoices (Kuhn, Junqua, Nguyen, Niedzielski 2000)
with the MAP estimate of joint factor analysis (Kenny 2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slmtk.codecs.world.analysis import Features, Floats
from slmtk.codecs.world.search import nearest
from slmtk.codecs.world.tables import SHAPE, Tables

QUIETEST = -24.0
"""Mean log power (nat) below which a frame is silence: 13 dB under noise of one step of 16 bits (about -21)."""

# nat of power below the level at which a frame stops to count and starts to count fully
_FAINT, _CLEAR = -7.0, -3.0
_MEAN_PRIOR_FRAMES = 10.0
# Neighbouring frames say nearly the same, so that five count as one.
_EVIDENCE = 0.2
_ITERATIONS = 4


@dataclass(frozen=True)
class Timbre:
    """Whose voice it is, and how loud.

    Attributes:
        level: log power (nat) of the loud parts of the speech.
        log_pitch: median log pitch of voiced speech, log Hz.
        mean: float64 [23], mean shape of the envelope over the speech.
        loadings: float64 [R], about unit variance over speakers.
    """

    level: float
    log_pitch: float
    mean: Floats
    loadings: Floats

    def to_vector(self) -> Floats:
        """float64 [25 + R]: level, log pitch, mean, loadings."""
        return np.concatenate([[self.level, self.log_pitch], self.mean, self.loadings])

    @classmethod
    def from_vector(cls, vector: Floats) -> Timbre:
        """Inverse of `to_vector`."""
        return cls(float(vector[0]), float(vector[1]), vector[2 : 2 + SHAPE], vector[2 + SHAPE :])


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


def mean_shape(features: Features, weights: Floats, prior: Floats) -> Floats:
    """Mean shape [23] over speech, drawn towards ``prior`` where there is little."""
    total = weights @ features.cepstrum[:, 1:] + _MEAN_PRIOR_FRAMES * prior
    return np.asarray(total / (weights.sum() + _MEAN_PRIOR_FRAMES))


def estimate_timbre(features: Features, tables: Tables) -> Timbre:
    """Return the timbre of an utterance; silence gives the average voice at the lowest level."""
    power = features.cepstrum[:, 0]
    level = speech_level(power)
    weights = speech_weights(power, level)
    voiced = (features.pitch > 0) & (weights > 0)
    log_pitch = float(np.median(np.log(features.pitch[voiced]))) if voiced.any() else float(tables.log_pitch[0])
    mean = mean_shape(features, weights, tables.mean)
    shapes = features.cepstrum[:, 1:] - mean
    return Timbre(level, log_pitch, mean, estimate_loadings(shapes, weights, tables.sounds, tables.basis, tables.noise))


def estimate_loadings(shapes: Floats, weights: Floats, sounds: Floats, basis: Floats, noise: Floats) -> Floats:
    """Return how a voice differs from the average one, float64 [R]: frames take their nearest sound, in turns.

    Args:
        shapes: float64 [T, 23], relative to the utterance's mean.
        weights: float64 [T], how much a frame counts.
        sounds: as in `Tables`, like ``basis`` and ``noise``.
    """
    loadings = np.zeros(basis.shape[2])
    for _ in range(_ITERATIONS):
        chosen = nearest(shapes, sounds + basis @ loadings)
        counts = np.bincount(chosen, weights, len(sounds)).astype(np.float64)
        sums = np.stack([np.bincount(chosen, weights * column, len(sounds)) for column in shapes.T], axis=1)
        loadings = solve_loadings(counts, sums - counts[:, None] * sounds, basis, noise)
    return loadings


def solve_loadings(counts: Floats, residuals: Floats, basis: Floats, noise: Floats) -> Floats:
    """MAP estimate, under a unit Gaussian prior, of loadings [R].

    Args:
        counts: float64 [G], frames of each sound.
        residuals: float64 [G, 23], sum over its frames of the difference from the average voice.
        basis: float64 [G, 23, R].
        noise: float64 [23].
    """
    scaled = basis / noise[:, None]
    precision = np.einsum("gfr,gfq,g->rq", scaled, basis, counts, optimize=True)
    evidence = np.einsum("gfr,gf->r", scaled, residuals)
    return np.asarray(np.linalg.solve(np.eye(len(evidence)) + _EVIDENCE * precision, _EVIDENCE * evidence))

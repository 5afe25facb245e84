"""Features of many speakers -> the codec's tables: the average voice, the kinds of sound, and two codebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from slmtk.codecs.world.analysis import Features, Floats
from slmtk.codecs.world.quantize import smooth
from slmtk.codecs.world.search import Ints, nearest, nearest_sums
from slmtk.codecs.world.tables import CODES, LOUDNESS, SHAPE, SOUNDS, Tables
from slmtk.codecs.world.timbre import Timbre, Voice, estimate_timbre, speech_level, speech_weights

Log = Callable[[str], None]
_QUIET_WEIGHT = 0.02
_TAPS = 5
_TRIES = 4


@dataclass(frozen=True)
class TrainingConfig:
    """How the tables are made.

    Attributes:
        kmeans_iterations: rounds of each k-means.
        joint_iterations: rounds in which both codebooks are fitted to each other.
        seed: of the first centroids.
    """

    kmeans_iterations: int = 20
    joint_iterations: int = 4
    seed: int = 0


@dataclass(frozen=True)
class _Frames:
    """All frames of all utterances: shapes [T, 23] of the average voice, weight [T], utterance [T]."""

    shapes: Floats
    weights: Floats
    owner: Ints

    def of(self, utterance: int) -> Floats:
        return np.asarray(self.shapes[self.owner == utterance])


def fit_tables(utterances: Sequence[Features], config: TrainingConfig, log: Log) -> Tables:
    """Return tables fitted to ``utterances``, each taken as one voice."""
    rng = np.random.default_rng(config.seed)
    tables = _average_voice(utterances)
    timbres = [estimate_timbre(features, tables) for features in utterances]
    frames = _bring_together(utterances, timbres, tables)
    sounds = kmeans(frames.shapes, frames.weights, SOUNDS, config.kmeans_iterations, rng)
    error = ((frames.shapes - sounds[nearest(frames.shapes, sounds)]) ** 2).mean(axis=1)
    variance = np.array([frames.weights @ error / frames.weights.sum()])
    log(f"sounds: variance {variance[0]:.4f} of {_variance(frames, frames.shapes.mean(axis=0)):.4f}")
    tables = replace(tables, sounds=sounds, sound_variance=variance)
    shifts = [estimate_timbre(features, tables).shifts for features in utterances]
    tables = _fit_codebooks(tables, frames, shifts, config, rng, log)
    return _fit_smoothing(tables, frames, shifts, log)


def kmeans(vectors: Floats, weights: Floats, count: int, iterations: int, rng: np.random.Generator) -> Floats:
    """Weighted k-means: centroids [count, F]; one that has lost its vectors starts afresh at a random one."""
    chance = weights / weights.sum()
    centroids = vectors[rng.choice(len(vectors), count, replace=False, p=chance)]
    for _ in range(iterations):
        totals, sizes = _sums(vectors, weights, nearest(vectors, centroids), count)
        fresh = vectors[rng.choice(len(vectors), count, p=chance)]
        centroids = np.where(sizes[:, None] < 2 * weights.mean(), fresh, totals / np.maximum(sizes, 1e-9)[:, None])
    return centroids


def _sums(vectors: Floats, weights: Floats, index: Ints, count: int) -> tuple[Floats, Floats]:
    totals = np.stack([np.bincount(index, weights * column, count) for column in vectors.T], axis=1)
    return totals.astype(np.float64), np.bincount(index, weights, count).astype(np.float64)


def _variance(frames: _Frames, centre: Floats) -> float:
    return float(frames.weights @ ((frames.shapes - centre) ** 2).mean(axis=1) / frames.weights.sum())


def _average_voice(utterances: Sequence[Features]) -> Tables:
    """Tables without sounds or codebooks: means over voices, each of which counts the same."""
    levels, pitches, loudness, means, covariances = [], [], [], [], []
    for features in utterances:
        power, shapes = features.cepstrum[:, 0], features.cepstrum[:, 1:]
        levels.append(speech_level(power))
        weights = speech_weights(power, levels[-1])
        voiced, unvoiced = weights * (features.pitch > 0), weights * (features.pitch == 0)
        heights = np.log(features.pitch[voiced > 0])
        pitches.append([np.median(heights), np.abs(heights - np.median(heights)).mean()])
        loudness.append(np.quantile(power[voiced > 0] - levels[-1], LOUDNESS))
        means.append([w @ shapes / max(w.sum(), 1e-9) for w in (voiced, unvoiced)])
        centred = shapes - means[-1][0]
        covariances.append((centred * voiced[:, None]).T @ centred / voiced.sum())
    voiced_mean, unvoiced_mean = np.mean(means, axis=0)
    return Tables(
        content1=np.zeros((CODES, SHAPE)),
        content2=np.zeros((CODES, SHAPE)),
        sounds=np.zeros((SOUNDS, SHAPE)),
        sound_variance=np.ones(1),
        voiced=voiced_mean,
        unvoiced=unvoiced_mean,
        covariance=np.mean(covariances, axis=0),
        loudness=np.mean(loudness, axis=0),
        pitch=np.mean(pitches, axis=0),
        level=np.array([np.mean(levels)]),
        smoothing=np.zeros((SHAPE, _TAPS)),
    )


def _bring_together(utterances: Sequence[Features], timbres: Sequence[Timbre], tables: Tables) -> _Frames:
    shapes, weights = [], []
    for features, timbre in zip(utterances, timbres, strict=True):
        shapes.append(Voice(timbre, tables).shapes_to_average(features.cepstrum[:, 1:], features.pitch > 0))
        power = features.cepstrum[:, 0]
        weights.append(speech_weights(power, speech_level(power)))
    owner = np.repeat(np.arange(len(utterances)), [len(rows) for rows in shapes])
    return _Frames(np.concatenate(shapes), np.concatenate(weights), owner)


def _fit_codebooks(
    tables: Tables,
    frames: _Frames,
    shifts: Sequence[Floats],
    config: TrainingConfig,
    rng: np.random.Generator,
    log: Log,
) -> Tables:
    """Both codebooks: k-means one after the other, then each in turn given the other."""
    weights = np.maximum(frames.weights, _QUIET_WEIGHT)
    plain = np.concatenate(
        [
            shapes - tables.sound_shares(shapes, shift) @ shift
            for shapes, shift in ((frames.of(voice), shift) for voice, shift in enumerate(shifts))
        ]
    )
    tables = replace(tables, content1=kmeans(plain, weights, CODES, config.kmeans_iterations, rng))
    rest = plain - tables.content1[nearest(plain, tables.content1)]
    tables = replace(tables, content2=kmeans(rest, weights, CODES, config.kmeans_iterations, rng))
    for iteration in range(config.joint_iterations):
        codes, plain, error = _assign(tables, frames, shifts)
        log(f"codebooks {iteration + 1}/{config.joint_iterations}: variance {weights @ error / weights.sum():.4f}")
        content1 = _update(tables.content1, plain - tables.content2[codes[1]], weights, codes[0])
        content2 = _update(tables.content2, plain - content1[codes[0]], weights, codes[1])
        tables = replace(tables, content1=content1, content2=content2)
    return tables


def _update(centroids: Floats, vectors: Floats, weights: Floats, index: Ints) -> Floats:
    totals, sizes = _sums(vectors, weights, index, len(centroids))
    return np.where(sizes[:, None] > 1, totals / np.maximum(sizes, 1e-9)[:, None], centroids)


def _assign(tables: Tables, frames: _Frames, shifts: Sequence[Floats]) -> tuple[Ints, Floats, Floats]:
    """Both codes [2, T], shapes without their voice's colour [T, 23] and squared errors [T]."""
    codes, plain = [], []
    for voice, shift in enumerate(shifts):
        shapes = frames.of(voice)
        pair = np.stack(nearest_sums(shapes, tables.coloured(shift), tables.content2, _TRIES))
        codes.append(pair)
        plain.append(shapes - (tables.centroid_shares @ shift)[pair[0]])
    both, shapes = np.concatenate(codes, axis=1), np.concatenate(plain)
    return both, shapes, ((shapes - tables.content1[both[0]] - tables.content2[both[1]]) ** 2).sum(axis=1)


def _fit_smoothing(tables: Tables, frames: _Frames, shifts: Sequence[Floats], log: Log) -> Tables:
    """Per coefficient, the filter over five frames that brings decoded shapes nearest to the real ones."""
    decoded = []
    for voice, shift in enumerate(shifts):
        centroids = tables.coloured(shift)
        codes = nearest_sums(frames.of(voice), centroids, tables.content2, _TRIES)
        decoded.append(centroids[codes[0]] + tables.content2[codes[1]])
    shapes, root = np.concatenate(decoded), np.sqrt(frames.weights)
    filters = np.zeros((SHAPE, _TAPS))
    for column in range(SHAPE):
        padded = np.pad(shapes[:, column], _TAPS // 2, mode="edge")
        taps = np.stack([padded[k : k + len(shapes)] for k in range(_TAPS)], axis=1)
        target = frames.shapes[:, column] * root
        filters[column] = np.linalg.lstsq(taps * root[:, None], target, rcond=None)[0]
    before, after = (frames.weights @ ((s - frames.shapes) ** 2) for s in (shapes, smooth(shapes, filters)))
    log(f"smoothing: error {before.sum() / frames.weights.sum():.4f} -> {after.sum() / frames.weights.sum():.4f}")
    return replace(tables, smoothing=filters)

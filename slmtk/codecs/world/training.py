"""Features of many speakers -> the codec's tables: what voices have in common, how they differ, and two codebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from slmtk.codecs.world.analysis import Features, Floats
from slmtk.codecs.world.quantize import smooth
from slmtk.codecs.world.search import Ints, nearest, nearest_sums
from slmtk.codecs.world.tables import CODES, SHAPE, Tables
from slmtk.codecs.world.timbre import estimate_loadings, mean_shape, solve_loadings, speech_level, speech_weights

Log = Callable[[str], None]
_QUIET_WEIGHT = 0.02
_TAPS = 5


@dataclass(frozen=True)
class TrainingConfig:
    """How the tables are made.

    Attributes:
        sounds: G, into how many kinds of sound speech is divided to compare voices.
        loadings: R, directions in which voices may differ.
        voice_iterations: rounds of finding voices and directions in turns.
        kmeans_iterations: rounds of each k-means.
        joint_iterations: rounds in which both codebooks are fitted to each other.
        seed: of the first centroids.
    """

    sounds: int = 128
    loadings: int = 32
    voice_iterations: int = 12
    kmeans_iterations: int = 20
    joint_iterations: int = 4
    seed: int = 0


@dataclass(frozen=True)
class _Frames:
    """All frames of all speakers: shapes [T, 23] relative to their utterance, weight [T], utterance [T]."""

    shapes: Floats
    weights: Floats
    owner: Ints

    def of(self, utterance: int) -> tuple[Floats, Floats]:
        chosen = self.owner == utterance
        return self.shapes[chosen], self.weights[chosen]


def fit_tables(utterances: Sequence[Features], config: TrainingConfig, log: Log) -> Tables:
    """Return tables fitted to ``utterances``, each taken as one voice, of which there should be more than R."""
    rng = np.random.default_rng(config.seed)
    levels = [speech_level(features.cepstrum[:, 0]) for features in utterances]
    weights = [speech_weights(f.cepstrum[:, 0], level) for f, level in zip(utterances, levels, strict=True)]
    mean = np.mean([mean_shape(f, w, np.zeros(SHAPE)) for f, w in zip(utterances, weights, strict=True)], axis=0)
    frames = _Frames(
        np.concatenate([f.cepstrum[:, 1:] - mean_shape(f, w, mean) for f, w in zip(utterances, weights, strict=True)]),
        np.concatenate(weights),
        np.repeat(np.arange(len(utterances)), [len(f.pitch) for f in utterances]),
    )
    pitches = [np.log(f.pitch[(f.pitch > 0) & (w > 0)]) for f, w in zip(utterances, weights, strict=True)]
    log_pitch = np.array([np.mean([np.median(p) for p in pitches if len(p)])])
    sounds, basis, noise = _fit_voices(frames, config, rng, log)
    loadings = np.stack([estimate_loadings(*frames.of(u), sounds, basis, noise) for u in range(len(utterances))])
    content1, content2, sound = _fit_codebooks(frames, loadings, (sounds, basis), config, rng, log)
    tables = Tables(
        content1, content2, sound.astype(np.float64), sounds, basis, noise, mean, log_pitch, np.zeros((SHAPE, _TAPS))
    )
    return _fit_smoothing(tables, frames, loadings, log)


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


def _fit_voices(
    frames: _Frames, config: TrainingConfig, rng: np.random.Generator, log: Log
) -> tuple[Floats, Floats, Floats]:
    """Sounds [G, 23] of an average voice, directions [G, 23, R] in which they move, and what is left, [23].

    Factor analysis in turns: voices given directions (ridge: unit prior), directions given voices (ridge: 20 frames).
    """
    voices, groups = int(frames.owner.max()) + 1, config.sounds
    sounds = kmeans(frames.shapes, frames.weights, groups, config.kmeans_iterations, rng)
    loadings = np.zeros((voices, config.loadings))
    basis = np.zeros((groups, SHAPE, config.loadings))
    noise = np.ones(SHAPE)
    for iteration in range(config.voice_iterations):
        centroids = [sounds + basis @ loadings[voice] for voice in range(voices)]
        index = np.concatenate([nearest(frames.of(voice)[0], centroids[voice]) for voice in range(voices)])
        totals, sizes = _sums(frames.shapes, frames.weights, frames.owner * groups + index, voices * groups)
        totals, sizes = totals.reshape(voices, groups, SHAPE), sizes.reshape(voices, groups)
        offsets = np.einsum("gfr,vr->vgf", basis, loadings)
        sounds = (totals - sizes[..., None] * offsets).sum(axis=0) / np.maximum(sizes.sum(axis=0), 1e-3)[:, None]
        residuals = totals - sizes[..., None] * sounds
        if iteration == 0:
            loadings, basis = _principal_directions(residuals / (sizes[..., None] + 10), config.loadings)
        error = frames.shapes - sounds[index] - np.einsum("tfr,tr->tf", basis[index], loadings[frames.owner])
        noise = (frames.weights @ error**2) / frames.weights.sum()
        log(f"voices {iteration + 1}/{config.voice_iterations}: variance {noise.sum():.4f}")
        loadings = np.stack([solve_loadings(sizes[v], residuals[v], basis, noise) for v in range(voices)])
        loadings /= loadings.std(axis=0) + 1e-9
        for group in range(groups):
            precision = (loadings * sizes[:, group, None]).T @ loadings + 20 * np.eye(config.loadings)
            basis[group] = np.linalg.solve(precision, loadings.T @ residuals[:, group]).T
    return sounds, basis, noise


def _principal_directions(offsets: Floats, count: int) -> tuple[Floats, Floats]:
    voices, groups, _ = offsets.shape
    left, scale, right = np.linalg.svd(offsets.reshape(voices, -1), full_matrices=False)
    basis = (right[:count].T * scale[:count] / np.sqrt(voices)).reshape(groups, SHAPE, count)
    return left[:, :count] * np.sqrt(voices), basis


def _fit_codebooks(
    frames: _Frames,
    loadings: Floats,
    voices: tuple[Floats, Floats],
    config: TrainingConfig,
    rng: np.random.Generator,
    log: Log,
) -> tuple[Floats, Floats, Ints]:
    """Two codebooks of an average voice, and the sound each centroid of the first belongs to."""
    sounds, basis = voices
    count, weights = len(loadings), np.maximum(frames.weights, _QUIET_WEIGHT)
    index = np.concatenate([nearest(frames.of(v)[0], sounds + basis @ loadings[v]) for v in range(count)])
    normal = frames.shapes - np.einsum("tfr,tr->tf", basis[index], loadings[frames.owner])
    content1 = kmeans(normal, weights, CODES, config.kmeans_iterations, rng)
    sound = nearest(content1, sounds)
    first = _assign(frames, content1, loadings, basis, sound)
    content2 = kmeans(first[1], weights, CODES, config.kmeans_iterations, rng)
    for iteration in range(config.joint_iterations):
        codes, normal, error = _assign_sums(frames, content1, content2, loadings, basis, sound)
        log(f"codebooks {iteration + 1}/{config.joint_iterations}: variance {weights @ error / weights.sum():.4f}")
        content1 = _update(content1, normal - content2[codes[1]], weights, codes[0])
        content2 = _update(content2, normal - content1[codes[0]], weights, codes[1])
    return content1, content2, sound


def _update(centroids: Floats, vectors: Floats, weights: Floats, index: Ints) -> Floats:
    totals, sizes = _sums(vectors, weights, index, len(centroids))
    return np.where(sizes[:, None] > 1, totals / np.maximum(sizes, 1e-9)[:, None], centroids)


def _assign(frames: _Frames, content1: Floats, loadings: Floats, basis: Floats, sound: Ints) -> tuple[Ints, Floats]:
    """First codes [T] and what they leave [T, 23], every voice with its own centroids."""
    codes, rests = [], []
    for voice in range(len(loadings)):
        centroids = content1 + (basis @ loadings[voice])[sound]
        shapes, _ = frames.of(voice)
        codes.append(nearest(shapes, centroids))
        rests.append(shapes - centroids[codes[-1]])
    return np.concatenate(codes), np.concatenate(rests)


def _assign_sums(
    frames: _Frames, content1: Floats, content2: Floats, loadings: Floats, basis: Floats, sound: Ints
) -> tuple[Ints, Floats, Floats]:
    """Both codes [2, T], shapes without the voice [T, 23] and squared errors [T]."""
    codes, normal = [], []
    for voice in range(len(loadings)):
        offsets = (basis @ loadings[voice])[sound]
        shapes, _ = frames.of(voice)
        pair = np.stack(nearest_sums(shapes, content1 + offsets, content2, 4))
        codes.append(pair)
        normal.append(shapes - offsets[pair[0]])
    both, shapes = np.concatenate(codes, axis=1), np.concatenate(normal)
    return both, shapes, ((shapes - content1[both[0]] - content2[both[1]]) ** 2).sum(axis=1)


def _fit_smoothing(tables: Tables, frames: _Frames, loadings: Floats, log: Log) -> Tables:
    """Per coefficient, the filter over five frames that brings decoded shapes nearest to the real ones."""
    decoded, sound = [], tables.sound.astype(np.int64)
    for voice in range(len(loadings)):
        centroids = tables.adapted(loadings[voice])
        codes = nearest_sums(frames.of(voice)[0], centroids, tables.content2, 4)
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
    return Tables(**{**vars(tables), "smoothing": filters, "sound": sound.astype(np.float64)})

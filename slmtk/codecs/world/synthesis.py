"""Pitch and spectral envelope per frame -> audio: the second half of the codec's decoder.

Source: WORLD's synthesis, through pyworld. Its noise generator starts afresh in every call, so equal features give
equal audio.
"""

from __future__ import annotations

import itertools

import numpy as np

from slmtk.codecs.world.analysis import FFT_SIZE, FRAME_SIZE, SAMPLE_RATE, Features, Floats, pyworld

# Between frames WORLD interpolates power, which smears onsets; in steps of 2.5 ms it interpolates what is here
# interpolated in log power. This lowers the cepstral distance to the recording by 8 %.
STEPS = 5
"""Steps a frame in which WORLD synthesises."""
# Noise in voiced sounds; estimated band aperiodicity (D4C) came no nearer to recordings than this constant.
_VOICED_APERIODICITY = 0.05
_BLOCK_FRAMES = 60 * SAMPLE_RATE // FRAME_SIZE
_SEARCH_FRAMES = 10 * SAMPLE_RATE // FRAME_SIZE
CONTEXT_FRAMES = 8
"""Frames to either side beyond which nothing is heard of a frame but the phase: a pulse lasts 32 ms each way."""


def synthesize(features: Features) -> Floats:
    """Return the audio of ``features``, float64 [T * 200] at 16 kHz, not limited in range.

    More than a minute is made in blocks of about a minute, cut where the voice rests, so that memory does not grow.
    """
    edges = _block_edges(features.pitch)
    pieces = [_synthesize_block(features, start, stop) for start, stop in itertools.pairwise(edges)]
    return np.concatenate(pieces)


def _block_edges(pitch: Floats) -> list[int]:
    """Frames at which blocks begin and end: the last unvoiced one within ten seconds, at most a minute on."""
    edges = [0]
    while len(pitch) - edges[-1] > _BLOCK_FRAMES:
        limit = edges[-1] + _BLOCK_FRAMES
        resting = np.flatnonzero(pitch[limit - _SEARCH_FRAMES : limit] == 0)
        edges.append(limit - _SEARCH_FRAMES + int(resting[-1]) if len(resting) else limit)
    return [*edges, len(pitch)]


def _synthesize_block(features: Features, start: int, stop: int) -> Floats:
    first, last = max(0, start - CONTEXT_FRAMES), min(len(features.pitch), stop + CONTEXT_FRAMES)
    pitch = refine_pitch(features.pitch[first:last])
    wav = pulses(pitch, envelope(features.cepstrum[first:last]), aperiodicity(pitch))
    return np.asarray(wav[(start - first) * FRAME_SIZE : (stop - first) * FRAME_SIZE])


def pulses(pitch: Floats, envelope: Floats, aperiodicity: Floats) -> Floats:
    """WORLD's synthesis: [N] Hz, [N, 513] and [N, 513], `STEPS` a frame -> audio float64 [N * 40]."""
    step_ms = 1000 * FRAME_SIZE / SAMPLE_RATE / STEPS
    return np.asarray(pyworld().synthesize(pitch, envelope, aperiodicity, SAMPLE_RATE, step_ms))


def aperiodicity(pitch: Floats) -> Floats:
    """Share of noise in each band, float64 [N, 513], of steps whose pitch is [N]."""
    return np.repeat(np.where(pitch > 0, _VOICED_APERIODICITY, 1.0)[:, None], FFT_SIZE // 2 + 1, axis=1)


def envelope(cepstrum: Floats) -> Floats:
    """Power over frequency of every step, float64 [T * steps, 513], interpolated between frames [T, 24]."""
    position = _positions(len(cepstrum))
    left = position.astype(np.int64)
    right = np.minimum(left + 1, len(cepstrum) - 1)
    share = (position - left)[:, None]
    refined = cepstrum[left] * (1 - share) + cepstrum[right] * share
    return np.asarray(pyworld().decode_spectral_envelope(refined, SAMPLE_RATE, FFT_SIZE))


def refine_pitch(pitch: Floats) -> Floats:
    """Pitch of every step, [T] -> [T * steps]: interpolated between voiced frames; voicing changes half-way.

    Where the voice rests its pitch is held, so that no step depends on what is said after the rest.
    """
    position = _positions(len(pitch))
    voiced = np.flatnonzero(pitch > 0)
    if not len(voiced):
        return np.zeros(len(position))
    left = position.astype(np.int64)
    resting = (pitch[left] > 0) & (pitch[np.minimum(left + 1, len(pitch) - 1)] == 0)
    contour = np.exp(np.interp(np.where(resting, left, position), voiced, np.log(pitch[voiced])))
    sounding = pitch[np.minimum((position + 0.5).astype(np.int64), len(pitch) - 1)] > 0
    return np.where(sounding, contour, 0.0)


def _positions(num_frames: int) -> Floats:
    return np.minimum(np.arange(num_frames * STEPS) / STEPS, num_frames - 1)

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
_STEPS = 5
# Noise in voiced sounds; estimated band aperiodicity (D4C) came no nearer to recordings than this constant.
_VOICED_APERIODICITY = 0.05
_BLOCK_FRAMES = 60 * SAMPLE_RATE // FRAME_SIZE
_SEARCH_FRAMES = 10 * SAMPLE_RATE // FRAME_SIZE
_CONTEXT_FRAMES = 8


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
    first, last = max(0, start - _CONTEXT_FRAMES), min(len(features.pitch), stop + _CONTEXT_FRAMES)
    cepstrum, pitch = _refine(features.cepstrum[first:last], features.pitch[first:last])
    envelope = pyworld().decode_spectral_envelope(cepstrum, SAMPLE_RATE, FFT_SIZE)
    aperiodicity = np.repeat(np.where(pitch > 0, _VOICED_APERIODICITY, 1.0)[:, None], FFT_SIZE // 2 + 1, axis=1)
    step_ms = 1000 * FRAME_SIZE / SAMPLE_RATE / _STEPS
    wav = pyworld().synthesize(pitch, envelope, aperiodicity, SAMPLE_RATE, step_ms)
    return np.asarray(wav[(start - first) * FRAME_SIZE : (stop - first) * FRAME_SIZE])


def _refine(cepstrum: Floats, pitch: Floats) -> tuple[Floats, Floats]:
    """Interpolate between frames: [T * steps, 24] and [T * steps]; voicing changes half-way."""
    num_frames = len(pitch)
    position = np.minimum(np.arange(num_frames * _STEPS) / _STEPS, num_frames - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, num_frames - 1)
    share = (position - left)[:, None]
    voiced = np.flatnonzero(pitch > 0)
    if not len(voiced):
        return cepstrum[left] * (1 - share) + cepstrum[right] * share, np.zeros(len(position))
    contour = np.exp(np.interp(position, voiced, np.log(pitch[voiced])))
    sounding = pitch[np.minimum((position + 0.5).astype(np.int64), num_frames - 1)] > 0
    return cepstrum[left] * (1 - share) + cepstrum[right] * share, np.where(sounding, contour, 0.0)

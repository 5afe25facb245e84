"""Does an utterance get the same codes in a batch as alone? Measured on some of a corpus; nothing is written."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk.codecs.base import Codec, load_codec
from slmtk.corpus import find_utterances, load_audio
from slmtk.device import resolve_device
from slmtk.errors import AudioError, CorpusError
from slmtk.progress import Progress
from slmtk.stages.tokenize import TokenizeConfig

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 8
MAX_SECONDS = 20.0
"""Longer utterances are cut, so that a batch of them fits in memory."""


@dataclass(frozen=True)
class StreamCheck:
    """How one stream's codes differed.

    Attributes:
        batch_percent: of frames whose code was another one in a batch than alone.
        repeat_percent: of frames whose code was another one when the same audio was encoded alone again: what of
            ``batch_percent`` the batch is not to blame for.
    """

    batch_percent: float
    repeat_percent: float


@dataclass(frozen=True)
class BatchCheck:
    """What `verify_batch` found.

    Attributes:
        codec: its name.
        device: where it ran.
        utterances: encoded alone and in batches.
        left_out: audio that could not be read or is shorter than a frame.
        batch_size: utterances in a batch, all cut to the shortest one's whole frames.
        frames: compared in each stream.
        differing_utterances: with another code somewhere in a batch than alone.
        streams: by name.
    """

    codec: str
    device: str
    utterances: int
    left_out: int
    batch_size: int
    frames: int
    differing_utterances: int
    streams: dict[str, StreamCheck]


def verify_batch(
    source: Path | str, config: TokenizeConfig, progress: Progress, *, utterances: int = 32, seed: int = 0
) -> BatchCheck:
    """Encode some utterances of ``source`` alone, alone again, and in batches of equal length, and compare the codes.

    `tokenize` itself encodes every utterance alone. This says whether a codec on a device keeps its promise that
    company does not matter, as anything that encodes in batches has to know.

    Args:
        source: what `slmtk.corpus.find_utterances` takes.
        config: the codec and how to read the source.
        progress: told of utterances done.
        utterances: how many, drawn by ``seed``.
        seed: of the draw.

    Raises:
        CorpusError: fewer than two utterances can be used.
        SlmtkError: the codec cannot be loaded.
    """
    device = resolve_device(config.device)
    codec = load_codec(config.codec, device=device, checkpoint=config.codec_checkpoint, codebooks=config.codebooks)
    found = find_utterances(source, config.corpus).utterances
    chosen = random.Random(seed).sample(list(found), min(utterances, len(found)))
    wavs: list[Tensor] = []
    for utterance in chosen:
        try:
            wav = load_audio(utterance, codec.spec.sample_rate)[: round(MAX_SECONDS * codec.spec.sample_rate)]
        except AudioError as error:
            progress.message(f"left out: {utterance.id}: {error}")
            continue
        if len(wav) >= codec.spec.frame_size:
            wavs.append(wav)
    if len(wavs) < 2:
        raise CorpusError(f"{len(wavs)} utterances of {source} can be used; a batch needs two")
    return _compare(codec, "cpu" if codec.cpu_only else device, wavs, len(chosen) - len(wavs), progress)


def equal_batches(wavs: Sequence[Tensor], frame_size: int, batch: int = BATCH) -> list[Tensor]:
    """Stack neighbours in length, cut to whole frames of the shortest: [S] each -> float32 [B, S'] each, B > 1."""
    import torch

    ordered = sorted(wavs, key=len)
    starts = list(range(0, len(ordered), batch))
    if len(ordered) - starts[-1] == 1 and len(starts) > 1:
        starts.pop()  # the last one alone would be no batch: it joins the one before
    groups = [ordered[start:stop] for start, stop in zip(starts, [*starts[1:], len(ordered)], strict=True)]
    return [torch.stack([wav[: len(group[0]) // frame_size * frame_size] for wav in group]) for group in groups]


def _compare(codec: Codec, device: str, wavs: Sequence[Tensor], left_out: int, progress: Progress) -> BatchCheck:
    import torch

    batch_differs = torch.zeros(codec.spec.num_codebooks)
    repeat_differs = torch.zeros(codec.spec.num_codebooks)
    frames = utterances = 0
    with progress.task("verify", len(wavs), "utterances") as task, torch.inference_mode():
        for batch in equal_batches(wavs, codec.spec.frame_size):
            together = codec.encode(batch.to(device)).codes.cpu()
            for row, codes in enumerate(together):
                wav = batch[row : row + 1].to(device)
                alone, again = (codec.encode(wav).codes[0].cpu() for _ in range(2))
                batch_differs += (codes != alone).sum(dim=1)
                repeat_differs += (again != alone).sum(dim=1)
                frames += codes.shape[1]
                utterances += int(not torch.equal(codes, alone))
            task.advance(len(batch))
    streams = {
        stream.name: StreamCheck(round(100 * float(batch_share), 4), round(100 * float(repeat_share), 4))
        for stream, batch_share, repeat_share in zip(
            codec.spec.streams, batch_differs / frames, repeat_differs / frames, strict=True
        )
    }
    return BatchCheck(codec.spec.name, device, len(wavs), left_out, BATCH, frames, utterances, streams)

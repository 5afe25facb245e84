"""Who encodes the chunks of `tokenize`: worker processes, this process beside a GPU, or the actors of a Ray cluster."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from slmtk.engines.ahead import read_ahead
from slmtk.engines.local import WorkerPool, count_cores
from slmtk.engines.ray import ActorPool, Cluster
from slmtk.errors import SlmtkError
from slmtk.stages.tokenize.config import TokenizeConfig
from slmtk.stages.tokenize.job import Answer, Encoder, Failure, Heard, make_encoder
from slmtk.stages.tokenize.parts import Chunk, Part, chunks, window_seconds

# Many utterances of a few seconds, or few of half a minute; halved where memory does not suffice.
_GPU_BATCH_SECONDS = 120.0
_CHUNKS_AHEAD = 3.0

MakeEncoder = Callable[[], Encoder]
Answers = Generator[tuple[Chunk, Answer], None, None]


def encode_parts(
    parts: Sequence[Part],
    root: Path | None,
    config: TokenizeConfig,
    device: str,
    cluster: Cluster | None,
    tell: Callable[[str], None],
) -> Answers:
    """Encode ``parts``, chunk by chunk, in the order in which they are done.

    Args:
        parts: what to encode.
        root: the corpus's folder.
        config: codec and options.
        device: where the codec computes.
        cluster: use its actors; None encodes on this machine.
        tell: called with lines for the person who waits.

    Raises:
        WorkerDiedError: a worker process, or one actor after the other, died.
        SlmtkError: the codec cannot be loaded.
    """
    batch_seconds = config.batch_seconds
    if batch_seconds is None:
        batch_seconds = 0.0 if device == "cpu" else _GPU_BATCH_SECONDS
    tasks = list(chunks(parts, batch_seconds))
    make = functools.partial(
        make_encoder,
        config.codec,
        config.codebooks,
        config.codec_checkpoint,
        device,
        root,
        batch_seconds,
        config.min_dnsmos,
    )
    if cluster is not None:
        return _on_cluster(tasks, make, root, cluster, device != "cpu", config.workers, tell)
    if device != "cpu":
        return _beside_a_gpu(tasks, make, _CHUNKS_AHEAD * window_seconds(batch_seconds))
    return _in_processes(tasks, make, min(config.workers or count_cores(), len(tasks)))


def _in_processes(tasks: Sequence[Chunk], make: MakeEncoder, workers: int) -> Answers:
    with WorkerPool(functools.partial(_make_job, make), workers) as pool:
        yield from pool.map(tasks)


def _beside_a_gpu(tasks: Sequence[Chunk], make: MakeEncoder, budget: float) -> Answers:
    encoder = make()

    def read(chunk: Chunk) -> list[Heard | Failure]:
        return encoder.read(chunk.utterances)

    for chunk, sounds in read_ahead(tasks, read, lambda chunk: chunk.seconds, budget):
        yield chunk, encoder.encode(chunk.utterances, sounds)


def _on_cluster(
    tasks: Sequence[Chunk],
    make: MakeEncoder,
    root: Path | None,
    cluster: Cluster,
    gpu: bool,
    workers: int | None,
    tell: Callable[[str], None],
) -> Answers:
    make_there = functools.partial(_make_job_there, make, Path.cwd(), root)
    with ActorPool(make_there, cluster, gpu=gpu, most=workers, tell=tell) as pool:
        yield from pool.map(tasks)


def _make_job(make: MakeEncoder) -> Callable[[Chunk], Answer]:
    encoder = make()
    return lambda chunk: encoder(chunk.utterances)


def _make_job_there(make: MakeEncoder, folder: Path, root: Path | None) -> Callable[[Chunk], Answer]:
    # Otherwise all that falls to this machine would count as missing sound files.
    for path in (folder, *([folder / root] if root is not None else [])):
        if not path.exists():
            raise SlmtkError(f"{path} is not there on {platform.node()}; all machines of the cluster must see it")
    os.chdir(folder)  # relative paths mean there what they mean here
    return _make_job(make)

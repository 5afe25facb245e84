"""Who speaks the lines of `synth`: this process, worker processes, or the actors of a Ray cluster."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path

from slmtk.engines.local import WorkerPool
from slmtk.engines.ray import ActorPool, Cluster
from slmtk.errors import SlmtkError
from slmtk.stages.synth.config import SynthConfig
from slmtk.stages.synth.job import LineSpeaker, make_speaker
from slmtk.stages.synth.lines import SpokenLine
from slmtk.stages.synth.planned import Job

# So many batches are begun together: near the end of a chunk fewer texts are left than there are places in a batch.
_BATCHES = 16

Spoke = tuple[str, list[SpokenLine]]  # why steps are not the fast ones, and the lines
Speak = Callable[[Sequence[Job]], Spoke]
Spoken = Generator[SpokenLine, None, None]


def speak_lines(
    jobs: Sequence[Job], config: SynthConfig, device: str, cluster: Cluster | None, tell: Callable[[str], None]
) -> Spoken:
    """Speak ``jobs`` and yield each line when it is spoken, whichever is first.

    Args:
        jobs: one or more.
        config: how.
        device: where the model computes.
        cluster: use its actors; None speaks on this machine.
        tell: called with lines for the person who waits.

    Raises:
        WorkerDiedError: a worker process, or one actor after the other, died.
        SlmtkError: the model cannot be loaded, or a voice not be used.
    """
    if cluster is not None:
        return _on_cluster(jobs, config, device, cluster, tell)
    if config.workers is None or device != "cpu":
        return _here(jobs, config, device, tell)
    return _in_processes(jobs, config, min(config.workers, len(jobs)), tell)


def chunks(jobs: Sequence[Job], batch_size: int, hands: int | None) -> list[Sequence[Job]]:
    """Cut ``jobs`` into what is spoken together; ``hands``, if known, all get something to do."""
    most = _BATCHES * batch_size
    size = most if hands is None else max(1, min(most, -(-len(jobs) // (2 * hands))))
    return [jobs[first : first + size] for first in range(0, len(jobs), size)]


def slow_line(reason: str) -> str:
    """What is said, once, when the model's steps are not the fast ones."""
    return f"speaking with transformers' own steps, which take longer: {reason}"


def _tell_once(spoken: Iterable[Spoke], tell: Callable[[str], None]) -> Spoken:
    told = False
    for reason, lines in spoken:
        if reason and not told:
            told = True
            tell(slow_line(reason))
        yield from lines


def _here(jobs: Sequence[Job], config: SynthConfig, device: str, tell: Callable[[str], None]) -> Spoken:
    speaker = make_speaker(config, device)
    reason = speaker.why_slow()
    if reason:
        tell(slow_line(reason))
    for chunk in chunks(jobs, config.batch_size, None):
        yield from speaker.each(chunk)


def _in_processes(jobs: Sequence[Job], config: SynthConfig, workers: int, tell: Callable[[str], None]) -> Spoken:
    make: Callable[[], LineSpeaker] = functools.partial(make_speaker, config, "cpu")
    with WorkerPool[Sequence[Job], Spoke](make, workers) as pool:
        yield from _tell_once((done for _, done in pool.map(chunks(jobs, config.batch_size, workers))), tell)


def _on_cluster(
    jobs: Sequence[Job], config: SynthConfig, device: str, cluster: Cluster, tell: Callable[[str], None]
) -> Spoken:
    gpu = device != "cpu"
    room = cluster.gpus if gpu else cluster.cpus
    hands = max(1, min(room, config.workers or room))
    make = functools.partial(_make_there, config, device, Path.cwd())
    with ActorPool[Sequence[Job], Spoke](make, cluster, gpu=gpu, most=config.workers, tell=tell) as pool:
        yield from _tell_once((done for _, done in pool.map(chunks(jobs, config.batch_size, hands))), tell)


def _make_there(config: SynthConfig, device: str, folder: Path) -> Speak:
    # Otherwise the model and the voices would seem to be missing.
    if not folder.exists():
        raise SlmtkError(f"{folder} is not there on {platform.node()}; all machines of the cluster must see it")
    os.chdir(folder)  # relative paths mean there what they mean here
    return make_speaker(config, device)

"""Kill `tokenize` at moments drawn by a seed: python -m tests.helpers.killed SOURCE FOLDER SEED NUM_SHARDS.

A moment is a number of calls, so that a slow machine is killed at the same places as a fast one. Writes FOLDER/whole,
by a run that is left alone, and FOLDER/killed; prints kills, parts that were there after them, and what the resumed
runs came to.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import torch

from slmtk.stages import tokenize as stage
from slmtk.stages.tokenize.run import Run
from tests.helpers.tone_corpus import FIVE_A_PART, run

KILLS = 10


class Clock:
    """Counts this thread's calls from `Run.encode` on, and kills the process at ``last``."""

    def __init__(self, last: int | None) -> None:
        self.last, self.calls = last, 0

    def __call__(self, frame, event, argument) -> None:
        self.calls += event in ("call", "c_call")
        if self.calls == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def tokenize(source: str, out: Path, clock: Clock, **shard: int) -> None:
    begin = Run.encode

    def encode(self, work):
        sys.setprofile(clock)
        begin(self, work)

    Run.encode = encode
    try:
        run(source, out, device="cuda", shard_hours=FIVE_A_PART, **shard)
    finally:
        sys.setprofile(None)
        Run.encode = begin


def in_a_child(source: str, out: Path, last: int | None, shard: dict[str, int]) -> int:
    """Run in a process that need not load torch again; return how it ended, as `os.waitpid` has it."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        torch.set_num_threads(1)  # also mends, before there are threads, what the fork has left of torch's own
        tokenize(source, out, Clock(last), **shard)
        os._exit(0)
    finally:
        os._exit(1)


def main(source: str, folder: str, seed: str, num_shards: str) -> None:
    torch.set_num_threads(1)
    stage.resolve_device = lambda name: "cpu:0"  # in this process, as beside a GPU
    count, draw, out = int(num_shards), random.Random(int(seed)), Path(folder) / "killed"
    clock = Clock(None)
    tokenize(source, Path(folder) / "whole", Clock(None))  # calls of what is imported now are of no run after it
    tokenize(source, Path(folder) / "counted", clock)
    shards = [{"shard_id": i, "num_shards": count} for i in range(count)] if count > 1 else [{}]
    moments = [draw.randrange(1, clock.calls // 6) for _ in range(KILLS)]
    ends = [in_a_child(source, out, moment, shards[turn % count]) for turn, moment in enumerate(moments)]
    kills = sum(os.WIFSIGNALED(end) and os.WTERMSIG(end) == signal.SIGKILL for end in ends)
    found = len(list(out.glob("part-*.parquet")))
    print(kills, found, *(in_a_child(source, out, None, shard) for shard in shards))


if __name__ == "__main__":
    main(*sys.argv[1:])

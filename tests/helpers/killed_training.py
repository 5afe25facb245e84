"""Kill a training at moments drawn by a seed: python -m tests.helpers.killed_training DATASET FOLDER SEED.

Writes FOLDER/whole, by a run that is left alone, and FOLDER/killed, resumed after each kill; prints how many kills
there were and the step that the last run began at.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from transformers import TrainerCallback

from slmtk.models.trainer import SpeechTrainer
from slmtk.progress import SilentProgress
from slmtk.stages.train import train
from tests.helpers.tiny_run import TINY

CONFIG = replace(TINY, steps=9, save_every=3, log_every=4, num_targets=0, accumulation=2, batch_size=2)
KILLS = 2
EVENTS = ("on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_step_end", "on_save", "on_log")


class Killer(TrainerCallback):
    """Ends the process at its ``last`` event."""

    def __init__(self, last):
        self.left = last
        for name in EVENTS:
            setattr(self, name, self.count)

    def count(self, *_, **__):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def run(dataset, out, last=None):
    make = SpeechTrainer.__init__

    def with_killer(self, **arguments):
        make(self, **arguments)
        if last:
            self.add_callback(Killer(last))

    SpeechTrainer.__init__ = with_killer
    try:
        return train(dataset, out, CONFIG, SilentProgress())
    finally:
        SpeechTrainer.__init__ = make


def killed(dataset, out, last):
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    try:
        torch.set_num_threads(1)
        run(dataset, out, last)
    finally:
        os._exit(1)


def main(dataset, folder, seed):
    torch.set_num_threads(1)
    dataset, folder, draw = Path(dataset), Path(folder), random.Random(int(seed))
    run(dataset, folder / "whole")
    kills = sum(killed(dataset, folder / "killed", draw.randrange(8, 20)) for _ in range(KILLS))
    print(kills, run(dataset, folder / "killed").resumed_from)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Two trainings by several processes: torchrun --nproc-per-node 2 -m tests.helpers.ranks DATASET OUT OPTIONS...

The first is refused, because the folder OUT/refused holds something else; the second goes through. Each as the command
line does it. rank-N says how they ended, closed-N whether a process closed its connections before it exits.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

import torch

from slmtk.cli.main import main


def command(*words: str) -> str:
    sys.argv = ["slmtk", "train", *words]
    try:
        main()
    except SystemExit as end:
        return str(end.code)
    return "no end"


def note_whether_closed(path: Path) -> None:
    path.write_text("open" if torch.distributed.is_initialized() else "closed")


if __name__ == "__main__":
    dataset, out, *options = sys.argv[1:]
    # Registered first, it is called last.
    atexit.register(note_whether_closed, Path(out, f"closed-{os.environ['RANK']}"))
    refused = command(dataset, f"{out}/refused", *options)
    done = command(dataset, f"{out}/model", *options)
    Path(out, f"rank-{os.environ['RANK']}").write_text(f"{refused} {done}")

"""Two trainings by several processes: torchrun --nproc-per-node 2 -m tests.helpers.ranks DATASET OUT OPTIONS...

The first is refused, because the folder OUT/refused holds something else; the second goes through. Each as the command
line does it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from slmtk.cli.main import main


def command(*words: str) -> str:
    sys.argv = ["slmtk", "train", *words]
    try:
        main()
    except SystemExit as end:
        return str(end.code)
    return "no end"


if __name__ == "__main__":
    dataset, out, *options = sys.argv[1:]
    refused = command(dataset, f"{out}/refused", *options)
    done = command(dataset, f"{out}/model", *options)
    Path(out, f"rank-{os.environ['RANK']}").write_text(f"{refused} {done}")

"""Claim: `slmtk --help` answers in under 0.3 s. Median and worst of several runs, new interpreter each time."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from _machine import print_result

RUNS = 15


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    ours = [sys.executable, "-m", "slmtk", "--help"]
    seconds(ours)  # writes the byte code and warms the disk's cache
    times = [seconds(ours) for _ in range(RUNS)]
    bare = [seconds([sys.executable, "-c", "pass"]) for _ in range(RUNS)]
    print_result(
        "help_time",
        {
            "runs": RUNS,
            "median_seconds": round(statistics.median(times), 3),
            "worst_seconds": round(max(times), 3),
            "python_alone_median_seconds": round(statistics.median(bare), 3),
        },
    )


if __name__ == "__main__":
    main()

"""Claim: the memory of `tokenize` depends neither on the length of a recording nor on how many there are.

    .venv/bin/python benchmarks/tokenize_memory.py [--minutes 10 60] [--utterances 1000 100000] [--runs 3]

Recordings are noise with pauses (flac, 24 kHz), encoded with --max-seconds 30; utterances are links to one recording of
0.2 s. The codec is that of the tests, which costs nothing, so that what is measured is tokenize itself. Each run is a
new process; peaks are the largest resident memory (VmHWM) of the main process and of any process below it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile
from _machine import REPOSITORY, print_result

RATE = 24_000
CODEC = "tests.helpers.tone:ToneCodec"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", default=[10, 60], type=int, nargs="*")
    parser.add_argument("--utterances", default=[1000, 100_000], type=int, nargs="*")
    parser.add_argument("--runs", default=3, type=int)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    results: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in options.minutes:
            source = write_long(Path(folder) / f"{minutes}-minutes", minutes)
            for limit in ("30", ""):
                name = f"{minutes} minutes, " + ("--max-seconds 30" if limit else "whole")
                results[name] = [start(source, limit) for _ in range(options.runs)]
        for count in options.utterances:
            source = write_many(Path(folder) / f"{count}-utterances", count)
            results[f"{count} utterances"] = [start(source, "") for _ in range(options.runs)]
    print_result("tokenize_memory", {"codec": CODEC, "runs": options.runs, "results": results})


def write_long(folder: Path, minutes: int) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    with soundfile.SoundFile(folder / "long.flac", "w", RATE, 1, "PCM_16") as file:
        for _ in range(minutes * 12):
            block = random.normal(size=5 * RATE) / 10
            block[: RATE // 5] /= 100
            file.write(block)
    return folder


def write_many(folder: Path, count: int) -> Path:
    samples = np.random.default_rng(0).normal(size=RATE // 5) / 10
    for first in range(0, count, 1000):
        inside = folder / f"{first // 1000:04d}"
        inside.mkdir(parents=True)
        soundfile.write(inside / f"{first:07d}.wav", samples, RATE)
        for number in range(first + 1, min(first + 1000, count)):
            os.link(inside / f"{first:07d}.wav", inside / f"{number:07d}.wav")
    return folder


def start(source: Path, max_seconds: str) -> dict:
    command = [sys.executable, __file__, "--measure", str(source), *([max_seconds] if max_seconds else [])]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)


def measure(source: str, max_seconds: str | None = None) -> None:
    """Run once in this process with one worker; print peaks, and how the main process grew while encoding."""
    from slmtk.progress import SilentProgress
    from slmtk.stages.tokenize import TokenizeConfig, tokenize

    series: list[float] = []
    workers: dict[int, int] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            series.append(resident())
            for process in below(os.getpid()):
                workers[process] = max(peak(process), workers.get(process, 0))

    threading.Thread(target=watch, daemon=True).start()
    limit = float(max_seconds) if max_seconds else None
    config = TokenizeConfig(codec=CODEC, device="cpu", workers=1, max_seconds=limit, shard_hours=0.5)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        report = tokenize(source, Path(out) / "codes", config, SilentProgress())
    done.set()
    quarter = len(series) // 4
    values = {
        "main_peak_mb": peak(os.getpid()),
        "largest_worker_peak_mb": max(workers.values(), default=None),
        "main_mb_after_each_quarter": [round(series[quarter * part - 1]) for part in (1, 2, 3, 4)] if quarter else [],
        "rows": report.encoded,
        "parts": report.parts,
        "seconds_wall": round(time.monotonic() - started, 1),
    }
    print(json.dumps(values))


def peak(process: int) -> int:
    """Largest resident memory that a process has had, in MB; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1000 for line in lines if line.startswith("VmHWM")), 0)


def below(process: int) -> list[int]:
    """Processes that ``process`` has started, and theirs."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [process]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def resident() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()

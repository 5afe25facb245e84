"""Where a number was measured: the machine, the versions and the commit, for every benchmark's JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "slmtk",
    "torch",
    "torchaudio",
    "transformers",
    "pyarrow",
    "numpy",
    "pyworld",
    "pocketsphinx",
    "resemblyzer",
)
REPOSITORY = Path(__file__).resolve().parents[1]


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge or repeat a measurement; imports no torch."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "changed_files": len(_git("status", "--porcelain", "--untracked-files=no").splitlines()),
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_per_minute": round(os.getloadavg()[0], 2),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "gpus": _gpus(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "threads": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ},
    }


def print_result(name: str, values: dict[str, Any]) -> None:
    """Write a benchmark's numbers with the machine they were measured on to stdout, as JSON."""
    print(json.dumps({"benchmark": name, **values, "machine": machine()}, indent=2))


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, cwd=REPOSITORY)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _git(*args: str) -> str:
    return _output(["git", *args])


def _gpus() -> list[str]:
    return _output(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]).splitlines()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(json.dumps(machine(), indent=2))

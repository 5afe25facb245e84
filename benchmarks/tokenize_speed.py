"""Claim: `tokenize` encodes speech many times faster than real time, and codes take the bits they must.

    .venv/bin/python benchmarks/tokenize_speed.py SOURCE [--codec world] [--workers 2] [--runs 3]

Each run is the whole command in a new process, start-up included. Size is that of the parts without speaker vectors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from _machine import print_result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--codec", default="world")
    parser.add_argument("--workers", default=2, type=int)
    parser.add_argument("--runs", default=3, type=int)
    options = parser.parse_args()
    reports, walls = [], []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs):
            out = Path(folder) / str(run)
            started = time.perf_counter()
            reports.append(tokenize(options.source, out, options.codec, options.workers))
            walls.append(time.perf_counter() - started)
        sizes = column_bytes(out)
    seconds = reports[0]["hours"] * 3600
    vectors = sizes.get("speaker_vector", 0)
    print_result(
        "tokenize_speed",
        {
            "codec": options.codec,
            "workers": options.workers,
            "runs": options.runs,
            "hours": reports[0]["hours"],
            "utterances": reports[0]["utterances"],
            "failed": reports[0]["failed"],
            "wall_seconds": [round(wall, 2) for wall in walls],
            "times_real_time_median": round(seconds / statistics.median(walls), 1),
            "times_real_time_worst": round(seconds / max(walls), 1),
            "megabytes_per_hour": {name: round(size / 1e6 / seconds * 3600, 4) for name, size in sizes.items()},
            "megabytes_per_hour_without_speaker_vectors": round(
                (sum(sizes.values()) - vectors) / 1e6 / seconds * 3600, 4
            ),
        },
    )


def tokenize(source: str, out: Path, codec: str, workers: int) -> dict:
    command = [sys.executable, "-m", "slmtk", "tokenize", source, str(out), "--codec", codec]
    command += ["--workers", str(workers), "--device", "cpu", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"slmtk tokenize ended with {done.returncode}")
    return json.loads(done.stdout)


def column_bytes(folder: Path) -> dict[str, int]:
    """Bytes of each column over all parts, and of what surrounds them."""
    sizes: dict[str, int] = {}
    for part in folder.glob("part-*.parquet"):
        metadata = pq.ParquetFile(part).metadata
        inside = 0
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                column = metadata.row_group(group).column(place)
                name = column.path_in_schema.split(".")[0]
                sizes[name] = sizes.get(name, 0) + column.total_compressed_size
                inside += column.total_compressed_size
        sizes["footer"] = sizes.get("footer", 0) + part.stat().st_size - inside
    return sizes


if __name__ == "__main__":
    main()

"""Claim: training on a dataset of a million rows starts in seconds, in memory that depends little on its size.

    .venv/bin/python benchmarks/train_start.py [--rows 10000 1000000] [--pack-tokens 0 2048] [--keep FOLDER]

The dataset is written by slmtk's own writer: 20 rows a speaker, 2 to 6 s of two streams at 12.5 frames a second, a
sentence of some 60 letters, a speaker vector of 32 values; its tokenizer is "bytes", or with --tokenizer bpe:N one
that has been trained on the sentences. Each measurement is a new process: open the dataset, plan the epoch, read the
first batch of 16 utterances (or of 4 packed rows), then some 30,000 rows more, and some rows at random from the whole
dataset, which is how an order without windows reads. Imports are not counted. Memory is the largest resident one
(VmHWM) of the process; "grown" is what it has grown by since the imports, without the pages of the files that the
system maps in and may take back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _machine import REPOSITORY, print_result

SEED = 0
BATCH, PACKS = 16, 4
MORE = {0: 2000, 1: 400}  # batches, padded and packed: more rows than a window has
RANDOM_ROWS = 200
WORDS = ("the", "voice", "was", "heard", "again", "before", "evening", "and", "nobody", "answered", "from", "house")
FRAME_RATE = 12.5
DIM = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=[10_000, 1_000_000], type=int, nargs="+")
    parser.add_argument("--pack-tokens", default=[0, 2048], type=int, nargs="+", help="0: padded batches")
    parser.add_argument("--tokenizer", default="bytes", help="bytes or bpe:N")
    parser.add_argument("--keep", type=Path, help="Write the datasets here and use those that are here already.")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), int(options.measure[1]))))
        return
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for rows in options.rows:
            folder = (options.keep or Path(temporary)) / f"{rows}-{options.tokenizer.replace(':', '-')}"
            if not (folder / "slmtk.json").is_file():
                write(folder, rows, options.tokenizer)
            size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
            for tokens in options.pack_tokens:
                found = {"rows": rows, "pack_tokens": tokens, "dataset_mb": round(size / 1e6), **start(folder, tokens)}
                results.append(found)
                print(found, file=sys.stderr)
    print_result("train_start", {"tokenizer": options.tokenizer, "batch": BATCH, "packs": PACKS, "results": results})


def write(folder: Path, count: int, tokenizer_name: str) -> None:
    from slmtk.config import write_json
    from slmtk.data.bpe import parse_bpe, train_bpe
    from slmtk.data.dataset_columns import DatasetRow
    from slmtk.data.dataset_writer import DatasetWriter
    from slmtk.data.text_tokenizer import ByteTokenizer
    from slmtk.data.vocabulary import Vocabulary
    from slmtk.spec import CodecSpec, Stream

    spec = CodecSpec("bench", 16_000, int(16_000 / FRAME_RATE), (Stream("a", 512), Stream("b", 512)), speaker_dim=DIM)
    random = np.random.default_rng(SEED)
    texts = [" ".join(random.choice(WORDS, 11)).capitalize() for _ in range(2000)]
    size = parse_bpe(tokenizer_name)
    tokenizer = ByteTokenizer() if size is None else train_bpe(texts, size)
    tokens = [len(tokenizer.encode(text)) for text in texts]
    folder.mkdir(parents=True)
    writer = DatasetWriter(folder, spec)
    for number in range(count):
        frames = int(random.integers(25, 75))
        codes, vector = random.integers(0, 512, (2, frames)), random.normal(size=DIM).astype(np.float32)
        place, speaker = int(random.integers(len(texts))), f"s{number // 20:06d}"
        seconds = frames / FRAME_RATE
        row = (f"u{number:07d}", "tts", texts[place], None, codes, vector, speaker, frames, tokens[place], seconds)
        writer.add("train", DatasetRow(*row))
    tokenizer.save(folder / "tokenizer")
    index = {"format": 1, "kind": "dataset", "codec": spec.to_dict(), "tokenizer": {}, "tasks": ["tts"]}
    index["vocabulary"] = Vocabulary(tokenizer.vocab_size, spec).to_dict()
    write_json(folder / "slmtk.json", {**index, "splits": writer.close()})


def start(folder: Path, pack_tokens: int) -> dict:
    command = [sys.executable, __file__, "--measure", str(folder), str(pack_tokens)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)


def measure(folder: Path, pack_tokens: int) -> dict:
    """Start training in this process, without a model; seconds of each part and memory."""
    from itertools import islice

    from torch.utils.data import DataLoader

    from slmtk.data.collate import collate, collate_packed
    from slmtk.data.dataset import open_dataset
    from slmtk.data.packing import PackedSampler, PackedSet
    from slmtk.data.sampling import LengthBucketSampler
    from slmtk.data.training_set import TrainingSet
    from slmtk.layout import Layout

    before, seconds = memory(), {}
    mark = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal mark
        seconds[name] = round(time.perf_counter() - mark, 2)
        mark = time.perf_counter()

    dataset = open_dataset(folder)
    train_set = TrainingSet(dataset, "train", Layout("grouped", 2, 2), speaker_aware=True)
    lap("open")
    order = train_set.order(SEED, packed=bool(pack_tokens))
    lap("lengths")
    if pack_tokens:
        sampler = PackedSampler(order, pack_tokens, PACKS)
        loader = DataLoader(
            PackedSet(train_set), PACKS, sampler=sampler, collate_fn=lambda packs: collate_packed(packs, 0, pack_tokens)
        )
    else:
        sampler = LengthBucketSampler(order, BATCH)
        loader = DataLoader(train_set, BATCH, sampler=sampler, collate_fn=lambda examples: collate(examples, 0))
    batches = iter(loader)
    lap("plan")
    next(batches)
    lap("first_batch")
    started = memory()
    size, many = (PACKS, MORE[1]) if pack_tokens else (BATCH, MORE[0])
    read = min(many, len(loader) - 1)
    rows = len(sampler.rows_of(0, size, size * (read + 1)))
    mark = time.perf_counter()
    for _ in islice(batches, read):
        pass
    lap("more_rows")
    ended = memory()
    fresh = TrainingSet(dataset, "train", Layout("grouped", 2, 2), speaker_aware=True)
    mark = time.perf_counter()
    for row in np.random.default_rng(SEED).integers(len(fresh), size=RANDOM_ROWS).tolist():
        fresh[row]
    lap("random_rows")
    return {
        "seconds_to_first_batch": round(sum(seconds[name] for name in ("open", "lengths", "plan", "first_batch")), 2),
        "seconds": seconds,
        "peak_mb_at_first_batch": started["VmHWM"],
        "grown_mb_at_first_batch": started["RssAnon"] - before["RssAnon"],
        "grown_mb_after_more_rows": ended["RssAnon"] - before["RssAnon"],
        "more_rows": rows,
        "rows_per_second": round(rows / seconds["more_rows"]),
        "rows_per_second_in_random_order": round(RANDOM_ROWS / seconds["random_rows"]),
        "mb_after_imports": before["VmRSS"],
    }


def memory() -> dict[str, int]:
    """This process's memory by the system's names, in MB."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) // 1000 for line in lines if line[-1] == "kB"}


if __name__ == "__main__":
    main()

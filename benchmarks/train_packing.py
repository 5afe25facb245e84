"""How many frames of speech a second each way to make batches trains, on one model: packed, padded, one by one.

    OMP_NUM_THREADS=1 python benchmarks/train_packing.py [--utterances 192] [--rounds 5] [--pack-tokens 1024]

Utterances are as long as LibriTTS's (log-normal around 4.5 s, 0.5 to 20 s, 15 letters a second), three streams of 1,024
made-up codes at 80 frames a second, 4 frames a step. The sides have the same model, utterances and optimiser (AdamW);
they differ in how utterances become batches alone, from the dataset on disk to the step:

    reference   one utterance a batch, four batches an optimiser step: the released scripts' settings
    shuffled 4  four utterances a batch, whichever come, padded to the longest; one batch an optimiser step
    padded 4    slmtk's batches of 4 of like length, one an optimiser step
    padded 16   the same, 16
    packed      slmtk's packed rows of --pack-tokens positions, one, some 4 utterances, an optimiser step
    packed x 4  the same, 4 rows, one after the other, an optimiser step; compare with padded 16

The sides take turns, so that a machine that slows down slows all of them; every turn reads all utterances once. Given
are the median of the turns and their extremes. On a CPU, seconds are those of the processor that this process used,
which other processes change less than those of the clock; run it with one thread. "used": part of the positions that
hold a token.

What there is to gain depends on the machine. A batch of one utterance has no padding; what it wastes is the part of a
GPU that so few positions leave idle. One core of a CPU is busy with one utterance already, and masked attention over a
whole packed row costs it more than attention within each utterance: there padded batches of like length are faster.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _machine import print_result
from _made_up import SPEC
from torch.utils.data import DataLoader

from slmtk.config import write_json
from slmtk.data.collate import collate, collate_packed
from slmtk.data.dataset import DatasetFolder, open_dataset
from slmtk.data.dataset_columns import DatasetRow
from slmtk.data.dataset_writer import DatasetWriter
from slmtk.data.packing import PackedSampler, PackedSet
from slmtk.data.sampling import LengthBucketSampler
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.data.training_set import TrainingSet
from slmtk.data.vocabulary import Vocabulary
from slmtk.layout import Layout
from slmtk.models.build import build_model

LAYOUT = Layout("grouped", 3, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pack-tokens", type=int, default=1024)
    parser.add_argument("--size", default="s", help="preset of the tiny backbone")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        dataset = write(Path(temporary) / "dataset", options.utterances)
        train_set = TrainingSet(dataset, "train", LAYOUT, speaker_aware=False)
        sides = [Side(name, train_set, options) for name in SIDES]
        for turn in range(options.rounds + 1):  # the first turn warms up
            for side in sides:
                side.turn(record=turn > 0)
    results = {side.name: side.result() for side in sides}
    reference = results["reference"]["frames_per_second"]["median"]
    ratios = {name: round(found["frames_per_second"]["median"] / reference, 2) for name, found in results.items()}
    print_result(
        "train_packing",
        {
            "size": options.size,
            "device": options.device,
            "torch_threads": torch.get_num_threads(),
            "utterances": options.utterances,
            "pack_tokens": options.pack_tokens,
            "rounds": options.rounds,
            "results": results,
            "times_the_reference": ratios,
        },
    )


def write(folder: Path, count: int) -> DatasetFolder:
    random = np.random.default_rng(0)
    folder.mkdir()
    writer = DatasetWriter(folder, SPEC)
    seconds = np.exp(random.normal(np.log(4.5), 0.75, 4 * count))
    for number, duration in enumerate(seconds[(seconds >= 0.5) & (seconds <= 20)][:count].tolist()):
        frames, letters = int(duration * 80), int(duration * 15)
        text = "A" + "".join(random.choice(list("abcdefgh"), letters))
        codes = random.integers(0, 1024, (3, frames))
        row = DatasetRow(f"u{number}", "tts", text, None, codes, None, None, frames, len(text), duration)
        writer.add("train", row)
    ByteTokenizer().save(folder / "tokenizer")
    index = {"format": 1, "kind": "dataset", "codec": SPEC.to_dict(), "tokenizer": {}, "tasks": ["tts"]}
    vocabulary = Vocabulary(ByteTokenizer.vocab_size, SPEC).to_dict()
    write_json(folder / "slmtk.json", {**index, "vocabulary": vocabulary, "splits": writer.close()})
    return open_dataset(folder)


def pad(examples: list) -> dict[str, torch.Tensor]:
    return collate(examples, 0)


def reference(train_set: TrainingSet, options: argparse.Namespace) -> tuple[DataLoader, int]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(train_set, 1, shuffle=True, generator=generator, collate_fn=pad), 4


def shuffled(train_set: TrainingSet, options: argparse.Namespace) -> tuple[DataLoader, int]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(train_set, 4, shuffle=True, generator=generator, collate_fn=pad), 1


def padded(size: int) -> Callable[[TrainingSet, argparse.Namespace], tuple[DataLoader, int]]:
    def make(train_set: TrainingSet, options: argparse.Namespace) -> tuple[DataLoader, int]:
        return DataLoader(train_set, size, sampler=LengthBucketSampler(train_set.order(0), size), collate_fn=pad), 1

    return make


def packed(rows: int) -> Callable[[TrainingSet, argparse.Namespace], tuple[DataLoader, int]]:
    def make(train_set: TrainingSet, options: argparse.Namespace) -> tuple[DataLoader, int]:
        sampler = PackedSampler(train_set.order(0, packed=True), options.pack_tokens, rows)
        return DataLoader(
            PackedSet(train_set),
            1,
            sampler=sampler,
            collate_fn=lambda found: collate_packed(found, 0, options.pack_tokens),
        ), rows

    return make


SIDES = {
    "reference": reference,
    "shuffled 4": shuffled,
    "padded 4": padded(4),
    "padded 16": padded(16),
    "packed": packed(1),
    "packed x 4": packed(4),
}


class Side:
    """One way to make batches, with a model and an optimiser of its own."""

    def __init__(self, name: str, train_set: TrainingSet, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.name, self.device = name, options.device
        self.loader, self.accumulation = SIDES[name](train_set, options)
        settings = {"layout": "grouped", "frames_per_step": LAYOUT.frames_per_step}
        vocabulary = Vocabulary(ByteTokenizer.vocab_size, SPEC).to_dict()
        self.model = build_model(settings, vocabulary, base="tiny", size=options.size).train().to(self.device)
        if name.startswith("packed"):
            self.model.prepare_packing(by_example=self.device == "cpu")
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-4)
        self.frames = int(train_set.rows.num_frames.sum())
        self.tokens = int(train_set.lengths().sum())
        self.positions = self.steps = 0
        self.seconds: list[float] = []

    def turn(self, *, record: bool) -> None:
        """Train on every utterance once."""
        self.positions = self.steps = 0
        started = self.seconds_used()
        for number, batch in enumerate(self.loader, 1):
            self.positions += batch["input_ids"][..., 0].numel()
            batch = {key: value.to(self.device) for key, value in batch.items()}
            loss = self.model(**batch).loss
            (loss / self.accumulation).backward()
            if number % self.accumulation == 0 or number == len(self.loader):
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad()
                self.steps += 1
        seconds = self.seconds_used() - started
        if record:
            self.seconds.append(seconds)
        print(f"{self.name}: {self.frames / seconds:,.0f} frames/s", file=sys.stderr)

    def seconds_used(self) -> float:
        """Of the processor on a CPU, else of the clock when the device has done all that it was given."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def result(self) -> dict:
        rates = [self.frames / seconds for seconds in self.seconds]
        extremes = {"median": statistics.median(rates), "lowest": min(rates), "highest": max(rates)}
        return {
            "frames_per_second": {name: round(value) for name, value in extremes.items()},
            "optimiser_steps": self.steps,
            "used": round(self.tokens / self.positions, 3),
        }


if __name__ == "__main__":
    main()

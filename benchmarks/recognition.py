"""Claim: recognition in batches by length is faster than one at a time, and a kept transcript costs almost nothing.

    .venv/bin/python benchmarks/recognition.py [--device cpu] [--utterances 64] [--runs 3] [--model FOLDER_OR_HUB_ID]

Without --model it makes a Whisper and a HuBERT model of the given width and layers with random weights: what they hear
means nothing, and Whisper writes as many words as it has places; time per batch is that of their shape. Utterances are
noise of 1 to 15 seconds, the same in every run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _machine import REPOSITORY, print_result

from slmtk.asr.cache import CachedRecognizer
from slmtk.asr.hf import TransformersRecognizer

SECONDS = (1.0, 15.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--utterances", default=64, type=int)
    parser.add_argument("--batch-size", default=8, type=int)
    parser.add_argument("--runs", default=3, type=int)
    parser.add_argument("--width", default=256, type=int)
    parser.add_argument("--layers", default=4, type=int)
    parser.add_argument("--model", help="a recogniser of transformers instead of the random ones")
    options = parser.parse_args()
    wavs = utterances(options.utterances)
    with tempfile.TemporaryDirectory() as folder:
        models = {options.model: options.model} if options.model else random_models(Path(folder), options)
        measured = {name: measure(model, wavs, options) for name, model in models.items()}
    print_result(
        "recognition",
        {
            "device": options.device,
            "utterances": len(wavs),
            "hours": round(sum(map(len, wavs)) / 16_000 / 3600, 4),
            "batch_size": options.batch_size,
            "runs": options.runs,
            "weights": "as published" if options.model else f"random, width {options.width}, {options.layers} layers",
            "models": measured,
        },
    )


def utterances(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    low, high = SECONDS
    seconds = low + (high - low) * torch.rand(count, generator=generator)
    return [torch.randn(int(16_000 * length), generator=generator) * 0.1 for length in seconds.tolist()]


def random_models(folder: Path, options: argparse.Namespace) -> dict[str, str]:
    """Checkpoints in the hub's format, by the same function as the tests'."""
    sys.path.append(str(REPOSITORY / "tests"))
    from helpers.tiny_recognizers import save_wav2vec2, save_whisper

    names = {"whisper, random": folder / "whisper", "hubert, random": folder / "hubert"}
    for path in names.values():
        path.mkdir()
    save_whisper(folder / "whisper", width=options.width, layers=options.layers, positions=64)
    save_wav2vec2(folder / "hubert", "hubert", hidden=options.width, layers=options.layers)
    return {name: str(path) for name, path in names.items()}


def measure(model: str, wavs: list[torch.Tensor], options: argparse.Namespace) -> dict:
    alone = TransformersRecognizer(model, options.device, batch_size=1)
    batched = TransformersRecognizer(model, options.device, batch_size=options.batch_size)
    batched.transcribe(wavs[: options.batch_size])  # kernels and memory of the first call
    texts: dict[str, list[str]] = {}
    one = timed(lambda: texts.update(one=alone.transcribe(wavs)), options.runs)
    many = timed(lambda: texts.update(many=batched.transcribe(wavs)), options.runs)
    with tempfile.TemporaryDirectory() as folder:
        CachedRecognizer(batched, Path(folder)).transcribe(wavs)
        # A new one for each run: reading the file is part of the cost.
        kept = timed(lambda: CachedRecognizer(batched, Path(folder)).transcribe(wavs), options.runs)
    return {
        "one_at_a_time_seconds": [round(value, 3) for value in one],
        "batched_seconds": [round(value, 3) for value in many],
        "times_faster_median": round(statistics.median(one) / statistics.median(many), 2),
        "times_faster_worst": round(min(one) / max(many), 2),
        "kept_milliseconds_per_utterance_median": round(1000 * statistics.median(kept) / len(wavs), 3),
        "kept_milliseconds_per_utterance_worst": round(1000 * max(kept) / len(wavs), 3),
        "texts_that_differ": sum(a != b for a, b in zip(texts["one"], texts["many"], strict=True)),
    }


def timed(work: Callable[[], object], runs: int) -> list[float]:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()

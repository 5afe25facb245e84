"""Claim on codec `facodec`: the same codes as the published way of computing them, two to four times as fast on a CPU.

    OMP_NUM_THREADS=2 .venv/bin/python benchmarks/facodec_speed.py SHARED_DATA [--utterances 200] [--weights FOLDER]

Both ways run in one process on the same utterances, one after the other within each utterance (so that what else the
machine does falls on both), one utterance at a time, first encoding, then decoding of the three streams. The published
way is `_facodec_baseline.py`. "encode_by_workers" is how `slmtk tokenize` encodes: processes of one thread each, as
many as the other way has threads, on ten utterances at a time, in turn with the published way. "ratio" is the published
way's time divided by ours, over all utterances; "ratio_median" and
"ratio_worst" are over single utterances. A code may differ where two entries are as near as rounding: "codes_differ"
counts those, and "largest_margin" says how far apart the two nearest entries were in cosine in the worst of them.
--memory is a run of its own, since what it allocates changes how the process gets memory afterwards.
Without --weights the weights are random under a fixed seed: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _facodec_baseline import Baseline
from _machine import print_result
from torch import Tensor

from slmtk import audio
from slmtk.codecs.facodec import Facodec6V2
from slmtk.codecs.facodec.model import Decoder, EncoderV2
from slmtk.codecs.weights import locate, read_state

FILES = Facodec6V2.card.published.files


def write_random_weights(folder: Path, seed: int) -> None:
    """Write both files as published, without the training-only heads, with values that keep signals at a sane level."""
    generator = torch.Generator().manual_seed(seed)
    for name, module in zip(FILES, (EncoderV2(), Decoder(mel_prosody=True)), strict=True):
        state = {}
        computed = {key for key, _ in module.named_buffers()}
        for key, value in module.state_dict().items():
            if key in computed:
                state[key] = value.clone()
                continue
            noise = torch.randn(value.shape, generator=generator)
            if key.endswith("weight_v") or "_codebook" in key:
                state[key] = noise
            elif key.endswith("weight_g"):
                state[key] = _gain(key) * torch.exp(0.1 * noise)
            elif key.endswith((".alpha", ".beta")):
                state[key] = 0.3 * noise
            elif value.ndim == 1:
                state[key] = (1.0 if "ln" in key and key.endswith("weight") else 0.0) + 0.05 * noise
            else:
                state[key] = noise / value[0].numel() ** 0.5
        torch.save(state, folder / name)


def _gain(key: str) -> float:
    if key.endswith("block.3.weight_g") or key.startswith("model.6"):
        return 0.3
    return 20.0 if key.startswith("block.0.") else 1.0


def utterances(data: Path, count: int, seed: int) -> list[Path]:
    with open(data / "read_speech" / "metadata.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    paths = [data / row["path"] for row in rows]
    random.Random(seed).shuffle(paths)
    return paths[:count]


def margin(baseline: Baseline, wav: Tensor, different: Tensor) -> float:
    """Largest cosine gap between best and second-best entry over the first stream, by frame, in which codes differ."""
    gaps = baseline.margins(wav)[0]
    first = different.int().argmax(0)
    hit = different.any(0).nonzero().flatten()
    return max(float(gaps[first[frame], frame]) for frame in hit)


def compare(ours: Facodec6V2, baseline: Baseline, wav: Tensor, turn: int) -> dict[str, float]:
    """Time both on one utterance [1, S]; who begins changes with ``turn``."""
    times: dict[str, float] = {}
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def encode_ours() -> None:
        codes, speaker = ours.encode(wav)
        found["ours"] = (codes[:, [2, 0, 1, 3, 4, 5]], speaker)

    def encode_baseline() -> None:
        found["baseline"] = baseline.encode(wav)

    def decode_ours() -> None:
        codes, speaker = found["baseline"]
        x = ours.decoder.embed(codes[0, :3])
        found["wav"] = (ours.decoder.render(x, speaker[0]), x)

    def decode_baseline() -> None:
        codes, speaker = found["baseline"]
        found["expected"] = (baseline.decode(codes[:, :3], speaker)[0], codes)

    for pair in ((encode_ours, encode_baseline), (decode_ours, decode_baseline)):
        for work in pair if turn % 2 else pair[::-1]:
            begin = time.perf_counter()
            work()
            times[work.__name__] = time.perf_counter() - begin
    different = (found["ours"][0] != found["baseline"][0])[0]
    times["differ"] = int(different.sum())
    times["margin"] = margin(baseline, wav, different) if times["differ"] else 0.0
    times["audio_error"] = float((found["wav"][0] - found["expected"][0]).abs().max())
    times["codes"] = different.numel()
    times["seconds"] = wav.shape[1] / 16_000
    return times


class Encoders:
    """Processes of one thread, as those of `slmtk tokenize`, that encode utterances side by side."""

    def __init__(self, folder: Path, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = context.Pool(count, _begin, (str(folder),))

    def seconds(self, wavs: list[Tensor]) -> float:
        """Time for all of ``wavs``, longest first."""
        begin = time.perf_counter()
        self._pool.map(_encode, sorted((wav.numpy() for wav in wavs), key=lambda wav: -wav.shape[1]), chunksize=1)
        return time.perf_counter() - begin


def _begin(folder: str) -> None:
    global _codec
    torch.set_num_threads(1)
    _codec = Facodec6V2.create(checkpoint=Path(folder))


def _encode(wav: np.ndarray) -> None:
    _codec.encode(torch.from_numpy(wav))


def summary(rows: list[dict[str, float]], step: str) -> dict[str, float]:
    seconds = sum(row["seconds"] for row in rows)
    ours, baseline = (sum(row[f"{step}_{who}"] for row in rows) for who in ("ours", "baseline"))
    ratios = [row[f"{step}_baseline"] / row[f"{step}_ours"] for row in rows]
    return {
        "ours_seconds_per_second": round(ours / seconds, 4),
        "baseline_seconds_per_second": round(baseline / seconds, 4),
        "ratio": round(baseline / ours, 2),
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_worst": round(min(ratios), 2),
    }


def memory_by_length(ours: Facodec6V2) -> dict[str, float]:
    """Peak memory of this process in MB after encoding 10, 60 and 120 seconds of noise."""
    result = {"loaded": _peak_mb()}
    for seconds in (10, 60, 120):
        ours.encode(0.1 * torch.randn(1, 16_000 * seconds).clamp(-3, 3))
        result[f"encoded_{seconds}_s"] = _peak_mb()
    return result


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--utterances", default=200, type=int)
    parser.add_argument("--weights", type=Path, default=None, help="folder with the published files; else random")
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--memory", action="store_true", help="report peak memory by length instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        folder = arguments.weights or Path(temporary)
        if arguments.weights is None:
            write_random_weights(folder, arguments.seed)
        ours = Facodec6V2.create(checkpoint=folder)
        if arguments.memory:
            print_result("facodec_memory", {"peak_memory_mb": memory_by_length(ours)})
            return
        baseline = Baseline(*(read_state(locate(Facodec6V2.card.published, name, folder)) for name in FILES))
        wavs = [
            audio.pad_to_frames(audio.read(path, 16_000)[0], 200)[None]
            for path in utterances(arguments.data, arguments.utterances, arguments.seed)
        ]
        compare(ours, baseline, wavs[0], 0)
        encoders = Encoders(folder, torch.get_num_threads())
        encoders.seconds(wavs[:4])
        rows: list[dict[str, float]] = []
        by_workers = 0.0
        for first in range(0, len(wavs), 10):
            group = wavs[first : first + 10]
            rows += [compare(ours, baseline, wav, turn) for turn, wav in enumerate(group)]
            by_workers += encoders.seconds(group)
    seconds_of_audio = sum(row["seconds"] for row in rows)
    result = {
        "weights": "published" if arguments.weights else f"random, seed {arguments.seed}",
        "torch_threads": torch.get_num_threads(),
        "utterances": len(rows),
        "seconds_of_audio": round(seconds_of_audio, 1),
        "encode": summary(rows, "encode"),
        "encode_by_workers": {
            "ours_seconds_per_second": round(by_workers / seconds_of_audio, 4),
            "ratio": round(sum(row["encode_baseline"] for row in rows) / by_workers, 2),
        },
        "decode_three_streams": summary(rows, "decode"),
        "codes": int(sum(row["codes"] for row in rows)),
        "codes_differ": int(sum(row["differ"] for row in rows)),
        "largest_margin": max(row["margin"] for row in rows),
        "largest_audio_error": max(row["audio_error"] for row in rows),
    }
    print_result("facodec_speed", result)


if __name__ == "__main__":
    main()

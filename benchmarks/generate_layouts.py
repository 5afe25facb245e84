"""Claim: twelve codes a step are spoken twelve times as fast as one. A small model with random weights, one thread.

    OMP_NUM_THREADS=1 python benchmarks/generate_layouts.py --seconds 4

The same backbone speaks three streams of 1,024 codes at 80 frames a second, by next-token prediction (240 steps a
second of speech) and by multi-token prediction (`--frames` 4: 20 steps). The end is held back, so that all speak
equally long, and the settings are equal: greedy, no penalty. Runs of the cases take turns, so that a machine that slows
down slows all of them; a case's time is the median of its runs, with the slowest beside it. The ratio of the times is
twelve where a step costs the same in both; the grouped step's heads have 12 x 1,026 rows, the other's scores 3,073.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from _machine import print_result
from _made_up import CASES, SPEC

from slmtk.data.prompts import prefix
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.models.build import build_model
from slmtk.models.decoding.batch import BatchGenerator, Request
from slmtk.models.sampling import Sampling


class Case:
    """A model and the times of its runs."""

    def __init__(self, layout: str, frames_per_step: int, head: str, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        tokenizer = load_text_tokenizer("bytes")
        vocabulary = Vocabulary(tokenizer.vocab_size, SPEC)
        settings = {"layout": layout, "frames_per_step": frames_per_step, "head": head}
        model = build_model(settings, vocabulary.to_dict(), base="tiny", size=args.size).eval()
        self.layout, self.device = model.layout, torch.device(args.device)
        model = model.to(self.device, torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        self.generator = BatchGenerator(model, batch_size=args.batch)
        ids, _ = prefix("tts", "a" * args.prompt, tokenizer, vocabulary, speaker_aware=False)
        sampling = Sampling(
            temperature=args.temperature,
            top_k=50 if args.temperature else 0,
            top_p=0.8 if args.temperature else 1.0,
            repetition_penalty=1.0,
            min_seconds=args.seconds,
            max_seconds=args.seconds,
            loop_seconds=0,
        )
        self.requests = [Request(ids, sampling=sampling, seed=seed) for seed in range(args.batch)]
        self.seconds: list[float] = []

    def run(self) -> None:
        """Speak all utterances once."""
        started = time.perf_counter()
        results = [result for _, result in self.generator.run(self.requests)]
        self.seconds.append(time.perf_counter() - started)
        self.steps = max(result.steps for result in results)

    def result(self, seconds: float) -> dict[str, float]:
        counted = self.seconds[1:]
        median = statistics.median(counted)
        return {
            "steps": self.steps,
            "milliseconds_per_step": round(1e3 * median / self.steps, 3),
            "wall_seconds": round(median, 3),
            "wall_seconds_worst": round(max(counted), 3),
            "speech_seconds_per_wall_second": round(len(self.requests) * seconds / median, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="s", help="preset of the tiny backbone")
    parser.add_argument("--seconds", type=float, default=4.0, help="of speech an utterance")
    parser.add_argument("--batch", type=int, default=1, help="utterances at a time")
    parser.add_argument("--prompt", type=int, default=60, help="characters of text an utterance")
    parser.add_argument("--temperature", type=float, default=0.0, help="above 0 with top-k 50 and top-p 0.8")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each case, after one that does not count")
    parser.add_argument("--device", default="cpu", help="cpu (float32) or cuda (bfloat16)")
    parser.add_argument("--cases", nargs="*", choices=sorted(CASES), default=list(CASES), help="which to measure")
    args = parser.parse_args()
    cases = {name: Case(*CASES[name], args) for name in args.cases}
    for _ in range(args.repeats + 1):
        for case in cases.values():
            case.run()
    results = {name: case.result(args.seconds) for name, case in cases.items()}
    values = {**vars(args), "torch_threads": torch.get_num_threads(), "results": results}
    if "NTP" in results:
        slow = results["NTP"]["wall_seconds"]
        values["times_as_fast_as_ntp"] = {
            name: round(slow / every["wall_seconds"], 2) for name, every in results.items() if name != "NTP"
        }
    print_result("generate_layouts", values)


if __name__ == "__main__":
    main()

"""Claim: more speech heads cost a training step little per position. A tiny model, made-up speech, one thread.

    OMP_NUM_THREADS=1 python benchmarks/train_heads.py --seconds 4 --rows 8

Rows are as real ones are: a text of `--prompt` letters and `--seconds` of three streams of 1,024 codes at 80 frames a
second, in whatever number of steps the layout needs. Runs of the cases take turns, so that a machine that slows down
slows all of them; a case's time is the median of its steps, with the slowest beside it.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from _machine import print_result
from _made_up import CASES as MADE_UP_CASES
from _made_up import SPEC

from slmtk.data.collate import collate, make_example
from slmtk.data.prompts import tts_prompt
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.models.build import build_model
from slmtk.models.speech_lm import SpeechLM

CASES = {**MADE_UP_CASES, "delayed depth": ("delayed", 1, "depth")}


class Case:
    """A model, a batch and the times of its steps."""

    def __init__(self, layout: str, frames_per_step: int, head: str, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        tokenizer = load_text_tokenizer("bytes")
        vocabulary = Vocabulary(tokenizer.vocab_size, SPEC)
        settings = {"layout": layout, "frames_per_step": frames_per_step, "head": head}
        self.model: SpeechLM = build_model(settings, vocabulary.to_dict(), base="tiny", size=args.size).train()
        prompt = tts_prompt("a" * args.prompt, tokenizer, vocabulary, speaker_aware=False)
        codes = torch.randint(0, 1024, (args.rows, 3, int(args.seconds * 80)))
        self.batch = collate([make_example(prompt, row, vocabulary, self.model.layout) for row in codes], 0)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.seconds: list[float] = []

    def step(self) -> None:
        """One step of training."""
        started = time.perf_counter()
        self.model(**self.batch).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seconds.append(time.perf_counter() - started)

    def result(self) -> dict[str, float]:
        positions = self.batch["input_ids"].shape[0] * self.batch["input_ids"].shape[1]
        parameters = sum(p.numel() for p in self.model.parameters())
        counted = self.seconds[1:]
        median = statistics.median(counted)
        return {
            "parameters": parameters,
            "positions": positions,
            "step_ms": round(1e3 * median, 1),
            "step_ms_worst": round(1e3 * max(counted), 1),
            "microseconds_per_position": round(1e6 * median / positions, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="s", help="preset of the tiny backbone")
    parser.add_argument("--seconds", type=float, default=4.0, help="of speech a row")
    parser.add_argument("--rows", type=int, default=8, help="rows a batch")
    parser.add_argument("--prompt", type=int, default=60, help="characters of text a row")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each case, after one that does not count")
    parser.add_argument("--cases", nargs="*", choices=sorted(CASES), default=list(CASES), help="which to measure")
    args = parser.parse_args()
    cases = {name: Case(*CASES[name], args) for name in args.cases}
    for _ in range(args.repeats + 1):
        for case in cases.values():
            case.step()
    results = {name: case.result() for name, case in cases.items()}
    values = {**vars(args), "torch_threads": torch.get_num_threads(), "results": results}
    if {"MTP-3", "MTP-12"} <= results.keys():
        each = {name: results[name]["microseconds_per_position"] for name in ("MTP-3", "MTP-12")}
        values["mtp12_over_mtp3_per_position"] = round(each["MTP-12"] / each["MTP-3"], 3)
    print_result("train_heads", values)


if __name__ == "__main__":
    main()

"""How much longer a step of generation takes late in a long utterance: at position 2,000 against position 100.

    OMP_NUM_THREADS=1 python benchmarks/generate_length.py [--size s] [--slots 1] [--places 100 500 1000 2000]

Given are milliseconds a step, median and extremes over rounds of 50 steps around each place, and each place's median
over that of the first. transformers' modules with their own cache go the same way for comparison. The sides take turns.
On a CPU, seconds are those of the processor that this process used.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from _machine import print_result
from generate_step import make_model, random_inputs, seconds_used
from torch import Tensor
from transformers import DynamicCache

from slmtk.models.decoding.backbone import StepBackbone
from slmtk.models.speech_lm import SpeechLM

STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="s", help="preset of the tiny backbone, or qwen2.5-0.5b")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--places", nargs="+", type=int, default=[100, 500, 1000, 2000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    model = make_model(options.size, options.device, options.dtype)
    inputs = random_inputs(model, options.slots, max(options.places) + STEPS)
    sides = {"slmtk": ours, "transformers": theirs}
    seconds: dict[str, dict[int, list[float]]] = {name: {place: [] for place in options.places} for name in sides}
    for number in range(options.rounds + 1):  # the first round warms up
        for place in options.places:
            for name, side in sides.items():
                used = side(model, inputs, place)
                if number:
                    seconds[name][place].append(1000 * used / STEPS)
    print_result("generate_length", {**vars(options), "results": {name: summary(seconds[name]) for name in sides}})


def summary(seconds: dict[int, list[float]]) -> dict:
    medians = {place: statistics.median(found) for place, found in seconds.items()}
    first = next(iter(medians.values()))
    return {
        str(place): {
            "milliseconds": round(medians[place], 3),
            "lowest": round(min(found), 3),
            "highest": round(max(found), 3),
            "times_the_first": round(medians[place] / first, 2),
        }
        for place, found in seconds.items()
    }


@torch.inference_mode()
def ours(model: SpeechLM, inputs: Tensor, place: int) -> float:
    """Seconds of the steps around ``place``."""
    backbone = StepBackbone(model, len(inputs), inputs.shape[1])
    backbone.prefill(range(len(inputs)), [row[: place - STEPS // 2] for row in inputs])
    backbone.step(inputs[:, place - STEPS // 2])  # the memory may grow now
    started = seconds_used(inputs.device)
    for at in range(place - STEPS // 2 + 1, place + STEPS // 2 + 1):
        backbone.step(inputs[:, at])
    return seconds_used(inputs.device) - started


@torch.inference_mode()
def theirs(model: SpeechLM, inputs: Tensor, place: int) -> float:
    """The same by transformers."""
    transformer, cache = model.backbone.base_model, DynamicCache(config=model.backbone.base_model.config)
    begun = place - STEPS // 2 + 1
    transformer(inputs_embeds=inputs[:, :begun], past_key_values=cache, use_cache=True)
    started = seconds_used(inputs.device)
    for at in range(begun, begun + STEPS):
        transformer(inputs_embeds=inputs[:, at, None], past_key_values=cache, use_cache=True)
    return seconds_used(inputs.device) - started


if __name__ == "__main__":
    main()

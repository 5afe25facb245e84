"""How long one position takes in generation: slmtk's step against transformers' modules with their own cache.

    OMP_NUM_THREADS=1 python benchmarks/generate_step.py [--sizes s l] [--slots 1 8] [--steps 100] [--rounds 7]

Both sides have one backbone (the presets of `--base tiny`, random weights), the same prefixes of 40 positions and the
same embeddings, and give the same hidden states, which is checked. "reference" is the loop of transformers' own
`generate`: its model with a `DynamicCache`, all slots of a batch at once and as long as each other. Ours has slots of
different lengths, as they are when utterances end at different times; "even" are ours of one length. The sides take
turns, so that a machine that slows down slows all of them; given are the median of the rounds and their extremes, in
milliseconds a step for all slots together. On a CPU, seconds are those of the processor that this process used.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from _machine import print_result
from _made_up import SPEC
from torch import Tensor
from transformers import DynamicCache, Qwen2Config

from slmtk.data.vocabulary import Vocabulary
from slmtk.models.build import build_model
from slmtk.models.config import SpeechLMConfig
from slmtk.models.decoding.backbone import StepBackbone
from slmtk.models.speech_lm import SpeechLM

PREFIX = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["s", "l"], help="presets of the tiny backbone, or qwen2.5-0.5b")
    parser.add_argument("--slots", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    results = {
        f"{size}, {slots} slots": compare(make_model(size, options.device, options.dtype), slots, options)
        for size in options.sizes
        for slots in options.slots
    }
    print_result("generate_step", {**vars(options), "torch_threads": torch.get_num_threads(), "results": results})


QWEN = {
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "max_position_embeddings": 32_768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "tie_word_embeddings": True,
}
"""The shape of Qwen2.5-0.5B; weights are random, since speed does not depend on them."""


def make_model(size: str, device: str, dtype: str) -> SpeechLM:
    torch.manual_seed(0)
    settings = {"layout": "grouped", "frames_per_step": 4}
    if size == "qwen2.5-0.5b":
        vocabulary = Vocabulary(151_665, SPEC)
        backbone = Qwen2Config(vocab_size=vocabulary.size, **QWEN).to_dict()
        config = SpeechLMConfig(backbone=backbone, vocabulary=vocabulary.to_dict(), **settings)
        return SpeechLM(config).eval().to(device, getattr(torch, dtype))
    vocabulary = Vocabulary(259, SPEC).to_dict()
    model = build_model(settings, vocabulary, base="tiny", size=size).eval()
    return model.to(device, getattr(torch, dtype))


def compare(model: SpeechLM, slots: int, options: argparse.Namespace) -> dict:
    inputs = random_inputs(model, slots, PREFIX + options.steps)
    sides: dict[str, Callable[[], tuple[float, Tensor]]] = {
        "reference": lambda: reference(model, inputs),
        "even": lambda: ours(model, inputs, [PREFIX] * slots),
    }
    if slots > 1:
        sides["uneven"] = lambda: ours(model, inputs, [PREFIX - slot for slot in range(slots)])
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds + 1):  # the first round warms up
        last = {}
        for name, side in sides.items():
            used, last[name] = side()
            if number:
                seconds[name].append(1000 * used / options.steps)
        difference = float((last["even"] - last["reference"]).abs().max())
        assert difference < (1e-4 if options.dtype == "float32" else 0.2), difference
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "milliseconds": {
            name: {"median": round(medians[name], 3), "lowest": round(min(found), 3), "highest": round(max(found), 3)}
            for name, found in seconds.items()
        },
        "times_the_reference": {
            name: round(medians["reference"] / found, 2) for name, found in medians.items() if name != "reference"
        },
    }


def random_inputs(model: SpeechLM, slots: int, length: int) -> Tensor:
    width = model.get_input_embeddings().embedding_dim
    inputs = torch.randn(slots, length, width, generator=torch.Generator().manual_seed(0))
    return inputs.to(model.device, model.dtype)


@torch.inference_mode()
def reference(model: SpeechLM, inputs: Tensor) -> tuple[float, Tensor]:
    """Seconds of the steps behind the prefix, and the last hidden states."""
    transformer, cache = model.backbone.base_model, DynamicCache(config=model.backbone.base_model.config)
    transformer(inputs_embeds=inputs[:, :PREFIX], past_key_values=cache, use_cache=True)
    started = seconds_used(inputs.device)
    for at in range(PREFIX, inputs.shape[1]):
        output = transformer(inputs_embeds=inputs[:, at, None], past_key_values=cache, use_cache=True)
    return seconds_used(inputs.device) - started, output.last_hidden_state[:, 0]


@torch.inference_mode()
def ours(model: SpeechLM, inputs: Tensor, begun: list[int]) -> tuple[float, Tensor]:
    """The same of slots that begin with prefixes of ``begun`` positions."""
    backbone = StepBackbone(model, len(inputs), inputs.shape[1])
    assert not backbone.reason, backbone.reason
    backbone.prefill(range(len(inputs)), [row[:length] for row, length in zip(inputs, begun, strict=True)])
    started = seconds_used(inputs.device)
    for at in range(PREFIX, inputs.shape[1]):
        hidden, _ = backbone.step(inputs[:, at])
    return seconds_used(inputs.device) - started, hidden


def seconds_used(device: torch.device) -> float:
    """Of the processor on a CPU, else of the clock when the device has done all that it was given."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()

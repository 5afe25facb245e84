"""Time from a text to its first audio, and to its last, when audio is decoded while it is generated.

    OMP_NUM_THREADS=1 python benchmarks/first_audio.py [--size s] [--seconds 5] [--runs 9] [--codec world]

The model has random weights and is kept from ending its speech, so that all runs are equally long; the codec is real.
"first_audio_seconds" is from the request to the first samples, codec included; "whole_seconds" is what `synth` without
a stream takes until there is any audio. The two take turns. "codec_seconds" is decoding alone, in stretches and whole.
Given are medians and extremes over the runs, after one that warms up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from _machine import print_result

from slmtk.codecs.base import Codec, load_codec
from slmtk.codecs.streaming import stream_decode
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.models.build import build_model
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer, Voice
from slmtk.models.streaming import stream_audio

TEXT = "The north wind and the sun were disputing which was the stronger."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="s", help="preset of the tiny backbone")
    parser.add_argument("--codec", default="world")
    parser.add_argument("--frames-per-step", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0, help="of speech")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    synthesizer = make_synthesizer(load_codec(options.codec), options.size, options.frames_per_step)
    width = synthesizer.spec.speaker_dim
    voice = Voice("average", None, torch.zeros(width) if width else None)
    sampling = Sampling(temperature=1.0, max_seconds=options.seconds, min_seconds=options.seconds, loop_seconds=0.0)
    found: dict[str, list[float]] = {}
    for run in range(options.runs + 1):
        measured = once(synthesizer, voice, replace(sampling, seed=run))
        for name, value in measured.items() if run else ():
            found.setdefault(name, []).append(value)
    print_result("first_audio", {**vars(options), "results": {name: summary(values) for name, values in found.items()}})


def make_synthesizer(codec: Codec, size: str, frames_per_step: int) -> Synthesizer:
    """A model of random weights that reads bytes and speaks ``codec``'s codes."""
    tokenizer = load_text_tokenizer("bytes")
    vocabulary = Vocabulary(tokenizer.vocab_size, codec.spec)
    torch.manual_seed(0)
    settings = {"layout": "grouped", "frames_per_step": frames_per_step, "speaker_dim": codec.spec.speaker_dim}
    model = build_model(settings, vocabulary.to_dict(), base="tiny", size=size)
    return Synthesizer(model, tokenizer, codec, ["tts"])


def once(synthesizer: Synthesizer, voice: Voice, sampling: Sampling) -> dict[str, float]:
    """One run of both ways."""
    stream = stream_audio(synthesizer, TEXT, voice, sampling)
    stretches = sum(1 for _ in stream)
    started = time.perf_counter()
    (speech,) = synthesizer.speak([TEXT], [voice], sampling)
    whole = time.perf_counter() - started
    codes = torch.from_numpy(speech.codes).long()
    started = time.perf_counter()
    for _ in stream_decode(synthesizer.codec, codes.split(4, dim=1), voice.speaker):
        pass
    in_stretches = time.perf_counter() - started
    started = time.perf_counter()
    synthesizer.codec.decode(codes[None], None if voice.speaker is None else voice.speaker[None])
    return {
        "first_audio_seconds": stream.first_audio_seconds or 0.0,
        "stream_seconds": stream.seconds,
        "whole_seconds": whole,
        "stretches": float(stretches),
        "codec_seconds_in_stretches": in_stretches,
        "codec_seconds_whole": time.perf_counter() - started,
        "seconds_audio": stream.samples / stream.sample_rate,
    }


def summary(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {
        "median": round(statistics.median(values), 4),
        "lowest": round(min(values), 4),
        "highest": round(max(values), 4),
    }


if __name__ == "__main__":
    main()

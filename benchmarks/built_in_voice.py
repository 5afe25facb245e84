"""Whose voice the built-in model speaks in, and how well it is understood in voices of real people.

    python benchmarks/built_in_voice.py DATA [--model FOLDER] [--sentences FILE.jsonl] [--words 60] [--seed 0]

DATA/speakers/<speaker>/<clip>.flac are people whom the model never heard (of each a clip). Each says one sentence
of FILE (fields id and text, none trained on: examples/voice-in-the-box.sh writes speak.jsonl), and the model's default
voice says the same one. By resemblyzer, with the person's clip are compared: the speech in the person's voice
("to_the_person") and the same sentence in the default voice ("default_to_the_person"); and the former with the clip of
another person ("to_another"). A clip moves the voice if the first exceeds the second. Of the first --words people
PocketSphinx, with its general language model, writes down both.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
from _machine import print_result

from slmtk import audio, voice
from slmtk.asr.pocketsphinx import PocketsphinxRecognizer
from slmtk.metrics.intervals import bootstrap_mean, bootstrap_ratio
from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.similarity import cosine
from slmtk.metrics.wer import Counts, align_texts, corpus_counts
from slmtk.models.own_voices import own_place
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Speech, Synthesizer
from slmtk.speakers.resemblyzer import ResemblyzerEncoder

PLACES = (5, 25, 50, 75, 95)


def distribution(values: list[float]) -> dict[str, float | list[float]]:
    """Mean with its 95 % interval, and percentiles."""
    interval = bootstrap_mean(values)
    points = dict(
        zip((f"p{place:02d}" for place in PLACES), np.percentile(values, PLACES).round(3).tolist(), strict=True)
    )
    return {
        "mean": round(float(np.mean(values)), 3),
        "95%": [round(interval.low, 3), round(interval.high, 3)],
        **points,
    }


def words(
    texts: list[str], speeches: list[Speech], recognizer: PocketsphinxRecognizer
) -> dict[str, float | list[float]]:
    """WER in percent; speech that did not come to its end counts with all its words deleted."""
    normalize = get_normalizer("whisper-english")
    wavs = [audio.resample(speech.wav, speech.sample_rate, recognizer.sample_rate) for speech in speeches]
    heard = ["" if s.reason else text for s, text in zip(speeches, recognizer.transcribe(wavs), strict=True)]
    counts: list[Counts] = [
        align_texts(normalize(text), normalize(found)) for text, found in zip(texts, heard, strict=True)
    ]
    interval = bootstrap_ratio([one.errors for one in counts], [one.reference_length for one in counts])
    ends = [round(100 * interval.low, 1), round(100 * interval.high, 1)]
    return {"wer": round(100 * corpus_counts(counts).rate, 1), "95%": ends, "utterances": len(texts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=voice.built_in())
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.model is None:
        parser.error("no voice is built in; name a model with --model")
    torch.set_num_threads(1)
    sentences = [json.loads(line)["text"] for line in options.sentences.read_text(encoding="utf-8").splitlines()]
    people = sorted(folder for folder in (options.data / "speakers").iterdir() if folder.is_dir())
    random.Random(options.seed).shuffle(people)
    clips = [min(folder.glob("*.flac")) for folder in people]
    texts = [sentences[i % len(sentences)] for i in range(len(people))]

    model = Synthesizer.load(options.model)
    default = model.voice(own_place(model.own_voices.default))
    theirs = model.speak(texts, [model.voice(clip) for clip in clips], Sampling(), batch_size=8)
    plain = model.speak(texts, [default] * len(texts), Sampling(), batch_size=8)

    encoder = ResemblyzerEncoder.create()

    def embed(speech: Speech) -> torch.Tensor:
        return encoder.embed(audio.resample(speech.wav, speech.sample_rate, encoder.sample_rate))

    persons = [encoder.embed(audio.read(clip, encoder.sample_rate)[0]) for clip in clips]
    own = [cosine(embed(speech), person) for speech, person in zip(theirs, persons, strict=True)]
    base = [cosine(embed(speech), person) for speech, person in zip(plain, persons, strict=True)]
    other = [cosine(embed(speech), person) for speech, person in zip(theirs, persons[1:] + persons[:1], strict=True)]
    result = {
        "people": len(people),
        "default_voice": default.id,
        "came_to_their_end": sum(not speech.reason for speech in theirs) / len(theirs),
        "similarity": {
            "to_the_person": distribution(own),
            "default_to_the_person": distribution(base),
            "to_another": distribution(other),
            "gain": distribution((np.array(own) - np.array(base)).tolist()),
            "moved_toward_the_person": round(float(np.mean(np.array(own) > np.array(base))), 3),
            "nearer_to_the_person_than_to_another": round(float(np.mean(np.array(own) > np.array(other))), 3),
        },
    }
    if options.words:
        few = slice(0, options.words)
        recognizer = PocketsphinxRecognizer(workers=options.workers)
        result["words"] = {
            "in_the_persons_voices": words(texts[few], theirs[few], recognizer),
            "in_the_default_voice": words(texts[few], plain[few], recognizer),
        }
    print_result("built_in_voice", result)


if __name__ == "__main__":
    main()

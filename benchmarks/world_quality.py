"""Claims on codec `world`: words stay intelligible, and a voice can be exchanged. Tables as JSON.

    .venv/bin/python benchmarks/world_quality.py SHARED_DATA [--every 3] [--part words|voices|both] [--workers 2]

words: WER under the embedded recogniser of recordings, of WORLD without codes ("uncoded"), of codes, and of codes in
another speaker's voice, over the same utterances. Native English is every subset of `NATIVE`; dc_tts-recordings (a
German reads English) stands in the table beside it and is not counted.
voices: codes of A with the speaker vector of B, over random pairs of different speakers, none of whom the codebooks
were trained on. A pair is won if the result is more similar to B than to A. "strict" compares with the very recordings
that gave codes and vector (so that A's words and melody count for A), "speaker" with other recordings of A and B.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _machine import print_result
from torch import Tensor

from slmtk import audio
from slmtk.asr.pocketsphinx import PocketsphinxRecognizer
from slmtk.codecs.world import WorldCodec, analysis, synthesis
from slmtk.metrics.intervals import bootstrap_ratio
from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.similarity import cosine
from slmtk.metrics.wer import Counts, align
from slmtk.speakers.resemblyzer import ResemblyzerEncoder

NATIVE = (
    "librispeech-test-other",
    "librispeech-test-clean",
    "librispeech-dev-clean",
    "vctk",
    "ljspeech",
    "librivox-pocketsphinx",
    "cmu-arctic",
)
BESIDE = ("dc_tts-recordings",)


@dataclass(frozen=True)
class Recording:
    id: str
    path: Path
    subset: str
    speaker: str
    gender: str
    seconds: float
    text: str

    def load(self) -> Tensor:
        return audio.pad_to_frames(audio.read(self.path, 16_000)[0], 200)


def recordings(data: Path) -> list[Recording]:
    with open(data / "read_speech" / "metadata.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = [
        Recording(r["utt_id"], data / r["path"], r["subset"], r["speaker"], r["gender"], float(r["seconds"]), r["text"])
        for r in rows
    ]
    return sorted(found, key=lambda recording: recording.id)


def uncoded(wav: Tensor) -> Tensor:
    features = analysis.analyse(wav.numpy().astype(np.float64))
    return torch.from_numpy(synthesis.synthesize(features).clip(-1, 1).astype(np.float32))


CONDITIONS = ("original", "uncoded", "coded", "converted")


def measure_words(
    chosen: list[Recording], codec: WorldCodec, workers: int, only: tuple[str, ...] = CONDITIONS
) -> dict[str, object]:
    encoded = {r.id: codec.encode(r.load()[None]) for r in chosen}
    rng = random.Random(0)
    others = {r.id: rng.choice([o for o in chosen if o.speaker != r.speaker]) for r in chosen}
    conditions: dict[str, Callable[[Recording], Tensor]] = {
        "original": lambda r: r.load(),
        "uncoded": lambda r: uncoded(r.load()),
        "coded": lambda r: codec.decode(*encoded[r.id])[0],
        "converted": lambda r: codec.decode(encoded[r.id].codes, encoded[others[r.id].id].speaker)[0],
    }
    recognizer = PocketsphinxRecognizer(workers=workers)
    normalize = get_normalizer("whisper-english")
    counts: dict[str, dict[str, Counts]] = {}
    for name in only:
        make = conditions[name]
        heard = recognizer.transcribe([make(r) for r in chosen])
        pairs = zip(chosen, heard, strict=True)
        counts[name] = {r.id: align(normalize(r.text).split(), normalize(h).split()) for r, h in pairs}
    table = {subset: _row([r for r in chosen if r.subset == subset], counts) for subset in (*NATIVE, *BESIDE)}
    native = [r for r in chosen if r.subset in NATIVE]
    return {
        "normalizer": "whisper-english",
        "recognizer": recognizer.name,
        "by_subset": table,
        "native": _row(native, counts),
        "native_interval_95": {name: vars(_interval(native, counts[name])) for name in only},
        "native_coded_minus_original_interval_95": vars(_difference(native, counts["coded"], counts["original"])),
    }


def _row(chosen: list[Recording], counts: dict[str, dict[str, Counts]]) -> dict[str, float]:
    totals = {name: sum((byid[r.id] for r in chosen), Counts()) for name, byid in counts.items()}
    row: dict[str, float] = {"utterances": len(chosen), "words": totals["original"].reference_length}
    return row | {name: round(total.rate, 4) for name, total in totals.items()}


def _interval(chosen: list[Recording], counts: dict[str, Counts]) -> object:
    return bootstrap_ratio([counts[r.id].errors for r in chosen], [counts[r.id].reference_length for r in chosen])


def _difference(chosen: list[Recording], coded: dict[str, Counts], original: dict[str, Counts]) -> object:
    errors = [coded[r.id].errors - original[r.id].errors for r in chosen]
    return bootstrap_ratio(errors, [original[r.id].reference_length for r in chosen])


def measure_voices(candidates: list[Recording], codec: WorldCodec, pairs: int, seed: int) -> dict[str, object]:
    encoder = ResemblyzerEncoder()
    rng = random.Random(seed)
    by_speaker: dict[str, list[Recording]] = {}
    for recording in candidates:
        by_speaker.setdefault(recording.speaker, []).append(recording)
    vectors: dict[str, Tensor] = {}

    def vector(recording: Recording) -> Tensor:
        if recording.id not in vectors:
            vectors[recording.id] = encoder.embed(recording.load())
        return vectors[recording.id]

    def speaker(recording: Recording) -> Tensor:
        others = [r for r in by_speaker[recording.speaker] if r.id != recording.id][:5]
        return torch.stack([vector(r) for r in others]).mean(0)

    rows = []
    for _ in range(pairs):
        a, b = (rng.choice(by_speaker[name]) for name in rng.sample(sorted(by_speaker), 2))
        codes, voice = codec.encode(a.load()[None]).codes, codec.encode(b.load()[None]).speaker
        made = encoder.embed(codec.decode(codes, voice)[0])
        rows.append(
            {
                "same_gender": a.gender == b.gender,
                "strict": (cosine(made, vector(a)), cosine(made, vector(b))),
                "speaker": (cosine(made, speaker(a)), cosine(made, speaker(b))),
                "before": cosine(vector(a), vector(b)),
            }
        )
    return {
        "seed": seed,
        "speakers": len(by_speaker),
        "all": _wins(rows),
        "same_gender": _wins([r for r in rows if r["same_gender"]]),
        "cross_gender": _wins([r for r in rows if not r["same_gender"]]),
    }


def _wins(rows: list[dict]) -> dict[str, float]:
    result: dict[str, float] = {"pairs": len(rows)}
    for kind in ("strict", "speaker"):
        values = np.array([row[kind] for row in rows])
        result[f"{kind}_won"] = round(float((values[:, 1] > values[:, 0]).mean()), 3)
        result[f"{kind}_similarity_to_a"], result[f"{kind}_similarity_to_b"] = values.mean(0).round(3).tolist()
    return result | {"similarity_of_a_and_b": round(float(np.mean([row["before"] for row in rows])), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", default=1, type=int, help="take every n-th utterance for the words")
    parser.add_argument("--offset", default=0, type=int, help="begin at this one")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS, help="of the words")
    parser.add_argument("--part", choices=("words", "voices", "both"), default="both")
    parser.add_argument("--pairs", default=50, type=int)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--workers", default=1, type=int)
    parser.add_argument("--tables", type=Path, default=None, help="other tables than the package's")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec = WorldCodec.create(checkpoint=arguments.tables)
    everything = recordings(arguments.data)
    result: dict[str, object] = {"codec": codec.spec.to_dict()}
    if arguments.part != "voices":
        chosen = [r for r in everything if r.subset in NATIVE + BESIDE][arguments.offset :: arguments.every]
        result["words"] = measure_words(chosen, codec, arguments.workers, tuple(arguments.conditions))
    if arguments.part != "words":
        # Two recordings a speaker, so that another is left to compare with; three seconds to hear a voice in.
        long = [r for r in everything if r.seconds >= 3 and r.gender in ("F", "M")]
        ample = {r.speaker for r in long if sum(o.speaker == r.speaker for o in long) >= 2}
        for name, subsets in (("voices_native", NATIVE), ("voices_all", None)):
            candidates = [r for r in long if r.speaker in ample and (subsets is None or r.subset in subsets)]
            result[name] = measure_voices(candidates, codec, arguments.pairs, arguments.seed)
    print_result("world_quality", result)


if __name__ == "__main__":
    main()

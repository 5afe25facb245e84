"""Claim: 10,000 utterance pairs (words, characters, 1,000 bootstrap draws) are scored in under 10 s on one core.

Beside it, in the same run, what one would write without this: a call of jiwer for the words and one for the characters
of each pair, and a bootstrap that draws and adds up the utterances of each sample. Both must give the same numbers, to
the ends of the intervals: the draws are the same. Ours also marks hallucinations and gives the mean of the utterances'
rates and the share that was spoken, with intervals.
"""

from __future__ import annotations

import argparse
import random
import resource
import time

import jiwer
import numpy as np
from _machine import print_result

from slmtk.metrics.normalize import get_normalizer
from slmtk.stages.eval_wer.summary import summarize
from slmtk.stages.scoring import Pair, UtteranceScore, score_utterance
from slmtk.stages.speech_sources import Spoken

# A vocabulary of made-up words, of the lengths that English text has.
WORDS = ["".join(random.Random(n).choices("abcdefghijklmnop", k=1 + n % 9)) for n in range(2000)]


def texts(count: int, generator: random.Random) -> list[tuple[str, str]]:
    """Pairs of 5 to 35 words, a tenth of which are heard otherwise, not at all, or twice."""
    pairs = []
    for _ in range(count):
        reference = generator.choices(WORDS, k=generator.randint(5, 35))
        hypothesis = []
        for word in reference:
            hypothesis += generator.choices(([word], [generator.choice(WORDS)], [], [word, word]), (90, 5, 3, 2))[0]
        pairs.append((" ".join(reference), " ".join(hypothesis) or "x"))
    return pairs


def ours(pairs: list[tuple[str, str]], samples: int) -> dict[str, float]:
    normalize = get_normalizer("none")
    lines: list[UtteranceScore] = [
        score_utterance(Pair(Spoken(str(number), text, None, None), None, ""), heard, normalize, seconds=10.0)
        for number, (text, heard) in enumerate(pairs)
    ]
    wer = (summary := summarize("made up", [lines], samples, 0)).wer
    return {"wer": wer.rate, "low": wer.low, "high": wer.high, "cer": summary.cer.rate}


def plain(pairs: list[tuple[str, str]], samples: int) -> dict[str, float]:
    counts = {"words": [], "characters": []}
    for reference, hypothesis in pairs:
        for name, process in (("words", jiwer.process_words), ("characters", jiwer.process_characters)):
            out = process(reference, hypothesis)
            errors = out.substitutions + out.deletions + out.insertions
            counts[name].append((errors, out.substitutions + out.deletions + out.hits))
    generator = np.random.default_rng(0)
    found = {}
    for name, values in counts.items():
        errors, lengths = np.array(values).T
        drawn = []
        for _ in range(samples):
            places = generator.integers(0, len(errors), len(errors))
            drawn.append(errors[places].sum() / lengths[places].sum())
        found[name] = (errors.sum() / lengths.sum(), *np.percentile(drawn, [2.5, 97.5]))
    return {
        "wer": found["words"][0],
        "low": found["words"][1],
        "high": found["words"][2],
        "cer": found["characters"][0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="Each way in turn; the fastest time counts.")
    options = parser.parse_args()
    pairs = texts(options.pairs, random.Random(0))
    ways = {"slmtk": ours, "jiwer_by_pair_and_plain_bootstrap": plain}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    before, grown = peak_mb(), 0.0
    for repeat in range(options.repeats):
        for name, scores in ways.items():
            started = time.perf_counter()
            results[name] = scores(pairs, options.samples)
            seconds[name].append(time.perf_counter() - started)
            if not repeat and name == "slmtk":
                grown = peak_mb() - before
    first, second = results.values()
    assert all(abs(first[name] - second[name]) < 1e-9 for name in first), results
    best = {name: min(times) for name, times in seconds.items()}
    print_result(
        "scoring",
        {
            **vars(options),
            "claim_seconds": 10,
            "best_seconds": {name: round(value, 2) for name, value in best.items()},
            "all_seconds": {name: [round(value, 2) for value in times] for name, times in seconds.items()},
            "times_faster": round(best["jiwer_by_pair_and_plain_bootstrap"] / best["slmtk"], 1),
            "peak_mb_of_slmtk": round(grown, 1),
            "scores_of_both": {name: round(value, 5) for name, value in first.items()},
        },
    )


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

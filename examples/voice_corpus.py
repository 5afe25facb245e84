"""Sentences -> recordings in four synthetic voices, for examples/voice-in-the-box.sh.

    python examples/voice_corpus.py TEXT.tsv OUT [--workers N]

TEXT.tsv holds an id and a sentence a line (further columns are not read). OUT gets short/ (one to five words out of a
sentence), train/ and test/ (sentences, each spoken once), a manifest.tsv in each. The voices are of CMU Flite (the
program `flite`: Debian and Homebrew have it), made from recordings that are free for any use (CMU ARCTIC, and
the diphones of kal). Every 131st sentence is kept for the test. Run it again to go on where it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import soundfile
import torch
from torch import Tensor

RATE = 16_000
HELD_EVERY = 131
SPLIT_SHARE = 0.33  # of the sentences whose clauses are spoken apart, so that short texts occur
SHORTEST_CLAUSE = 20  # characters
PHRASES = 16_000
PHRASE_WORDS = (1, 2, 3, 4, 5), (1, 2, 3, 3, 2)  # how many words, how often
SILENCE_SECONDS = 0.06  # kept at either end
PEAK = 0.5
VOICES = ("slt", "rms", "awb", "kal16")


@dataclass(frozen=True)
class Line:
    """A recording to be made."""

    path: Path
    text: str
    voice: str


def read_sentences(path: Path) -> list[tuple[str, str]]:
    """Ids and texts in letters, digits and the marks that change how a sentence is spoken; empty ones stay in place."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    plain = [
        re.sub(r"[^A-Za-z0-9 ,.;:!?'\-]", " ", row[1].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")) for row in rows
    ]
    return [(row[0], re.sub(r"\s+", " ", text).strip()) for row, text in zip(rows, plain, strict=True)]


def clauses(text: str) -> list[str]:
    """Parts between marks, none much shorter than `SHORTEST_CLAUSE` unless the text is."""
    out: list[str] = []
    for part in (found.strip() for found in re.findall(r"[^,;:.]+[,;:.]*", text)):
        if out and min(len(out[-1]), len(part)) < SHORTEST_CLAUSE:
            out[-1] += " " + part
        else:
            out.append(part)
    return out


def plan(sentences: list[tuple[str, str]], out: Path) -> dict[str, dict[str, Line]]:
    """Lines of each part by id: sentences in a drawn order, voices in turn."""
    draw = random.Random(100)
    order = list(range(len(sentences)))
    draw.shuffle(order)
    lines: dict[str, dict[str, Line]] = {"train": {}, "test": {}}
    spoken = 0
    for i in order:
        key, text = sentences[i]
        if not re.search("[A-Za-z]", text):
            continue
        part = "train" if i % HELD_EVERY else "test"
        split = part == "train" and draw.random() >= 1 - SPLIT_SHARE
        for j, clause in enumerate(clauses(text) if split else [text]):
            voice = VOICES[spoken % len(VOICES)]
            spoken += 1
            name = f"{voice}-{key}-0{j}"
            lines[part][name] = Line(out / part / voice / f"{name}.flac", clause, voice)
    return {"short": plan_phrases(sentences, out / "short"), **lines}


def plan_phrases(sentences: list[tuple[str, str]], folder: Path) -> dict[str, Line]:
    """Words in a row out of training sentences, one phrase a sentence until all had their turn."""
    draw = random.Random(7)
    train = [row for i, row in enumerate(sentences) if i % HELD_EVERY and re.search("[A-Za-z]", row[1])]
    phrases: list[tuple[str, int, str]] = []
    turn = 0
    while len(phrases) < PHRASES:
        key, text = train[turn] if turn < len(train) else draw.choice(train)
        turn += 1
        words, size = text.split(), draw.choices(*PHRASE_WORDS)[0]
        if len(words) < size:
            continue
        start = draw.randrange(len(words) - size + 1)
        phrase = " ".join(words[start : start + size]).strip(" ,;:'-")
        if re.search("[A-Za-z]{2}", phrase):
            phrases.append((key, start, phrase))
    draw.shuffle(phrases)
    lines: dict[str, Line] = {}
    for number, (key, start, phrase) in enumerate(phrases):
        voice = VOICES[number % len(VOICES)]
        name = f"{voice}-{key}-1{start:02d}"
        lines.setdefault(name, Line(folder / voice / f"{name}.flac", phrase, voice))
    return lines


def say(line: Line) -> None:
    """Write one recording, whole or not at all."""
    if line.path.exists():
        return
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        # kal16 is a tenth slower of its own accord.
        command = ["flite", "-voice", line.voice, "--setf", "duration_stretch=1", "-t", line.text, "-o", file.name]
        subprocess.run(command, check=True)
        samples, rate = soundfile.read(file.name, dtype="float32")
    assert rate == RATE, f"voice {line.voice} speaks at {rate} Hz"
    wav = trim(torch.from_numpy(samples))
    part = line.path.with_suffix(".part")
    soundfile.write(part, (wav / wav.abs().max() * PEAK).numpy(), RATE, format="FLAC", subtype="PCM_16")
    os.replace(part, line.path)


def trim(wav: Tensor) -> Tensor:
    """Leave `SILENCE_SECONDS` of what lies before and behind the speech."""
    loud = (wav.unfold(0, 160, 160).abs().amax(1) > 0.008 * wav.abs().max()).nonzero()
    first, last, edge = int(loud[0]) * 160, (int(loud[-1]) + 1) * 160, int(SILENCE_SECONDS * RATE)
    return wav[max(0, first - edge) : last + edge]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if shutil.which("flite") is None:
        sys.exit(
            "voice_corpus.py: the program flite is not on the PATH; install it (apt install flite, brew install flite)"
        )
    lines = plan(read_sentences(options.text), options.out)
    for part, by_name in lines.items():
        for line in by_name.values():
            line.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{name}\t{line.voice}/{name}.flac\t{line.text}\t{line.voice}" for name, line in by_name.items()]
        (options.out / part / "manifest.tsv").write_text(
            "\n".join(["id\tpath\ttext\tspeaker", *rows, ""]), encoding="utf-8"
        )
    jobs = [line for by_name in lines.values() for line in by_name.values()]
    torch.set_num_threads(1)
    with Pool(options.workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(say, jobs, chunksize=16), 1):
            if done % 1000 == 0 or done == len(jobs):
                print(f"{done} of {len(jobs)} recordings", file=sys.stderr)


if __name__ == "__main__":
    main()

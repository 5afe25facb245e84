"""Speech whose transcripts are known beforehand: constants that a recogniser of levels tells apart."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from slmtk import audio
from slmtk.asr.base import Recognizer
from slmtk.progress import SilentProgress
from slmtk.stages.eval_wer import EvalConfig, EvalReport, eval_wer

TEXTS = ["go on home", "go on", "stay", "go on home now"]


class LevelRecognizer(Recognizer):
    """Hears text n of `TEXTS` in a constant of n tenths."""

    name = "levels"
    calls = 0

    @classmethod
    def create(cls, *, model=None, grammar=None, device="cpu"):
        return cls()

    def transcribe(self, wavs):
        type(self).calls += len(wavs)
        return [TEXTS[round(float(wav[100]) * 10)] for wav in wavs]


class LoudMeasures:
    """Measures the level of the speech; of silence there is none. Notes what it could have compared with."""

    def __init__(self, names, *, encoders, device, originals, codec=None, checkpoint=None):
        self.left_out = {}

    def compare(self, pair, wav, sample_rate):
        level = round(float(wav[100]), 1)
        if not level:
            self.left_out["level: silence"] = self.left_out.get("level: silence", 0) + 1
        originals = {"has original": float(pair.meant.read is not None)}
        return {**({"level": level} if level else {}), **originals}


def write_wav(path: Path, heard: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, torch.full((8000,), heard / 10), 16_000)


def write_corpus(root: Path, utterances: dict[str, tuple[str | None, int]]) -> Path:
    """A folder of recordings: id -> (text beside it, which of TEXTS is heard in it)."""
    for name, (text, heard) in utterances.items():
        write_wav(root / f"{name}.wav", heard)
        if text is not None:
            (root / f"{name}.txt").write_text(text)
    return root


def write_synth(root: Path, lines: list[dict]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    defaults = {"speaker": "s", "reference": None, "reason": "", "seconds_audio": 0.5, "seconds_wall": 0.1, "steps": 9}
    (root / "synth.jsonl").write_text("".join(json.dumps({**defaults, **line}) + "\n" for line in lines))
    return root


def score(ref: Path, hyp: Path | list[Path] | None, out: Path, **settings) -> EvalReport:
    """Score into ``out``/scores."""
    return eval_wer(ref, hyp, out / "scores", EvalConfig(device="cpu", **settings), SilentProgress())


def edits(report: EvalReport) -> tuple[int, int, int, int]:
    return report.wer.substitutions, report.wer.deletions, report.wer.insertions, report.words


def utterance_lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "scores/utterances.jsonl").read_text().splitlines()]

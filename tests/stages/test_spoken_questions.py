"""The whole way of spoken questions: codes -> dataset -> a tiny model -> answers to questions it has not heard."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from slmtk.data.bpe import train_bpe
from slmtk.data.collate import Example, collate
from slmtk.data.dataset import open_dataset
from slmtk.data.training_set import TrainingSet
from slmtk.layout import Layout
from slmtk.models.build import build_model
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Ask, Synthesizer, Voice
from slmtk.models.speech_lm import SpeechLM
from slmtk.progress import SilentProgress
from slmtk.shards import CodesRow
from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset
from tests.helpers.small_models import write_base
from tests.helpers.tone import VoicedToneCodec
from tests.stages.test_build_dataset import write_codes

SPEC = VoicedToneCodec.spec
QUESTIONS, WORDS = ("Old?", "Far?", "Blue?"), ("no", "maybe", "yes")
ASKED, SPOKEN = (3, 20, 40), (50, 30, 10)  # pitch of a question, and of its answer
STEPS = 250
EVERY = ("qa", "sqa", "qa-speech", "sqa-speech")


def question(kind: int, seed: int) -> np.ndarray:
    """Some frames of the question's pitch; how many, and their levels, say nothing."""
    random = np.random.default_rng([kind, seed])
    frames = int(random.integers(4, 8))
    return np.stack([np.full(frames, ASKED[kind]), random.integers(0, 3, frames)]).astype(np.int32)


def row(name: str, codes: np.ndarray, text: str) -> CodesRow:
    vector = np.array([0.5], np.float32)
    return CodesRow(name, codes, codes.shape[1] * 0.02, text, "s", speaker_vector=vector)


def make_dataset(folder: Path) -> Path:
    asked, answers, lines = [], [], []
    for number in range(18):
        kind = number % 3
        asked.append(row(f"q{number}", question(kind, number), QUESTIONS[kind]))
        answers.append(row(f"a{number}", np.full((2, 4), SPOKEN[kind]) % [[64], [16]], WORDS[kind]))
        lines.append(json.dumps({"id": f"a{number}", "question": QUESTIONS[kind], "question_id": f"q{number}"}))
    (folder / "q.jsonl").write_text("\n".join(lines))
    template = "The speech is: Answer this speech: . Answer in speech alone. You should speak like: .\n "
    train_bpe([template, *QUESTIONS, *WORDS] * 9, 400).save(folder / "tokenizer")  # so that prompts are short
    config = BuildDatasetConfig(
        tokenizer=str(folder / "tokenizer"),
        questions=folder / "q.jsonl",
        spoken_questions=(write_codes(folder / "asked", asked, SPEC),),
        answer_tasks=EVERY,
    )
    config = replace(
        config, filters=replace(config.filters, min_seconds=0), split=replace(config.split, dev_fraction=0)
    )
    build_dataset([write_codes(folder / "answers", answers, SPEC)], folder / "set", config, SilentProgress())
    return folder / "set"


def train(model: SpeechLM, examples: list[Example]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
    random = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = collate([examples[place] for place in random.permutation(len(examples))[:12]], 0)
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def test_a_tiny_model_answers_spoken_questions_it_has_not_heard_in_both_forms(tmp_path: Path):
    folder = open_dataset(make_dataset(tmp_path))
    layout = Layout("grouped", 2, 2)
    rows = TrainingSet(folder, "train", layout, speaker_aware=True)
    assert len(rows) == 18 * 4
    torch.manual_seed(0)
    settings = {"layout": "grouped", "frames_per_step": 2, "speaker_dim": 1, "speaker_encoder": "codec"}
    write_base(tmp_path / "base", "qwen2", tied=True, rows=folder.tokenizer.vocab_size)
    model = build_model(settings, folder.vocabulary.to_dict(), base=str(tmp_path / "base"), size="xs").train()
    train(model, [rows[index] for index in range(len(rows))])
    synthesizer = Synthesizer(model, folder.tokenizer, VoicedToneCodec(), folder.tasks)
    voice = Voice("s", None, torch.tensor([0.5]))
    asks = [Ask(None, voice, question(kind, 1000 + n)) for kind in range(3) for n in range(2)]
    asks += [Ask(QUESTIONS[kind], voice) for kind in range(3)]
    asks += [replace(ask, form="speech") for ask in asks]
    answers = dict(synthesizer.answer_each(asks, Sampling(max_seconds=1.0, max_text_tokens=20), batch_size=5))
    kinds = [0, 0, 1, 1, 2, 2, 0, 1, 2] * 2
    assert [answers[place].text for place in range(9)] == [WORDS[kind].capitalize() for kind in kinds[:9]]
    assert [answers[place].text for place in range(9, 18)] == [""] * 9
    assert [answers[place].reason for place in range(18)] == [""] * 18
    assert [answers[place].codes[0].tolist() for place in range(18)] == [[SPOKEN[kind]] * 4 for kind in kinds]

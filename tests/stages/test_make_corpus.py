from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from slmtk import audio
from slmtk.asr.pocketsphinx import PocketsphinxRecognizer
from slmtk.corpus import find_utterances
from slmtk.errors import ConfigError
from slmtk.progress import SilentProgress
from slmtk.spec import check_unique_ids
from slmtk.stages import make_corpus as stage
from slmtk.stages.make_corpus import MakeCorpusConfig, make_corpus
from slmtk.synthesis import espeak
from slmtk.synthesis.grammar import SENTENCES
from slmtk.synthesis.trivia import Trivia, load_trivia

CONFIG = MakeCorpusConfig(sentences=12, test_sentences=8)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "corpus"
    make_corpus(out, CONFIG, SilentProgress())
    return out


def test_the_same_settings_give_the_same_bytes_in_every_file(corpus: Path, tmp_path: Path):
    make_corpus(tmp_path / "again", CONFIG, SilentProgress())
    assert digests(tmp_path / "again") == digests(corpus)
    assert len(digests(corpus)) == 12 + 48 + 8 + 4 + 12 + 7  # sentences, answers, test, clips, transcripts, lists


def test_it_is_read_as_librispeech_with_every_text_and_speaker(corpus: Path):
    found = find_utterances(corpus / "train")
    assert found.layout == "librispeech"
    texts = {u.id: (u.speaker, u.text) for u in found.utterances}
    spoken = SENTENCES.sample(3 + 8 + 12, seed=0)[11:]
    assert texts["ada-1-0000"] == ("ada", spoken[0].upper())
    assert texts["henry-1-0002"] == ("henry", spoken[11].upper())
    assert texts["fay-2-0011"] == ("fay", "HORSES")
    assert len(texts) == 12 + 48


def test_train_and_test_share_no_sentence_and_no_id(corpus: Path):
    train, test = (find_utterances(corpus / part).utterances for part in ("train", "test"))
    check_unique_ids([*train, *test])
    assert not {u.text for u in train} & {u.text for u in test}
    assert [u.lower() for u in sorted(str(u.text) for u in test)] == sorted(
        (corpus / "unseen.txt").read_text().splitlines()
    )


def test_more_training_sentences_leave_the_test_part_as_it_is(corpus: Path, tmp_path: Path):
    make_corpus(tmp_path / "more", MakeCorpusConfig(sentences=20, test_sentences=8), SilentProgress())
    assert digests(tmp_path / "more" / "test") == digests(corpus / "test")
    assert digests(tmp_path / "more" / "references") == digests(corpus / "references")


def test_the_recogniser_understands_every_voice(corpus: Path):
    recognizer = PocketsphinxRecognizer.create(grammar=corpus / "grammar.jsgf")
    lines = records(corpus / "unseen.jsonl")
    speech = [audio.read(corpus / "test" / str(r["speaker"]) / "3" / f"{r['id']}.flac")[0] for r in lines]
    assert recognizer.transcribe(speech) == [r["text"] for r in lines]


def test_every_question_of_the_seen_part_is_answered_by_every_voice_in_train(corpus: Path):
    answers = {item.question: item.answers[0] for item in load_trivia() if item.split == "id"}
    spoken = {u.id: str(u.text).lower() for u in find_utterances(corpus / "train").utterances}
    rows = records(corpus / "questions.jsonl")
    assert all(spoken[str(row["id"])] == answers[str(row["question"])] for row in rows)
    assert len({(str(row["id"]).split("-")[0], row["question"]) for row in rows}) == 4 * 12


def test_the_benchmark_file_gives_roles_in_turn_with_a_reference_each(corpus: Path):
    rows = records(corpus / "roletrivia.jsonl")
    assert [row["role"] for row in rows] == ["ada", "edward", "fay", "henry"] * 5
    for row in rows:
        wav, rate = audio.read(corpus / str(row["reference"]))
        assert rate == 16_000
        assert len(wav) > 5 * rate


def test_a_second_run_with_the_same_settings_writes_nothing(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(espeak, "speak", None)
    report = make_corpus(corpus, CONFIG, SilentProgress())
    assert (report.seconds_wall, report.utterances) == (0.0, {"train": 12, "answers": 48, "test": 8})


def test_other_settings_or_other_files_in_the_folder_are_refused(corpus: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="made with other settings"):
        make_corpus(corpus, MakeCorpusConfig(sentences=13, test_sentences=8), SilentProgress())
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        make_corpus(tmp_path, CONFIG, SilentProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoken: list[str] = []

    def speak(text: str, voice: espeak.Voice) -> torch.Tensor:
        spoken.append(text)
        if len(spoken) == 3:
            raise KeyboardInterrupt
        return torch.zeros(1600)

    monkeypatch.setattr(espeak, "speak", speak)
    with pytest.raises(KeyboardInterrupt):
        make_corpus(tmp_path / "corpus", CONFIG, SilentProgress())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "values",
    [{"sentences": 0}, {"voices": ()}, {"voices": ("ada", "ada")}, {"voices": ("x",)}, {"trivia": "maxi"}],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object]):
    with pytest.raises(ConfigError):
        MakeCorpusConfig(**values)  # type: ignore[arg-type]


def test_the_command_and_the_stage_have_the_same_defaults():
    from slmtk.cli.make_corpus import command

    defaults = command.make_context("make-corpus", ["corpus"]).params
    config = MakeCorpusConfig()
    assert (defaults["voices"], defaults["trivia"]) == (config.voices, config.trivia)
    assert (defaults["sentences"], defaults["test_sentences"]) == (config.sentences, config.test_sentences)


def test_the_voices_are_the_quickstarts_four_or_eight_roles_unless_named():
    assert [voice.name for voice in MakeCorpusConfig().speakers] == ["ada", "edward", "fay", "henry"]
    roles = [voice.name for voice in MakeCorpusConfig(trivia="mini").speakers]
    assert len(set(roles)) == 8
    assert [voice.name for voice in MakeCorpusConfig(trivia="mini", voices=("fay",)).speakers] == ["fay"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[Trivia]:
    """Two questions of the small RoleTriviaQA's "id" part and one "ood"."""
    trivia = load_trivia("mini")
    few = [*trivia[:2], trivia[-1]]
    monkeypatch.setattr(stage, "load_trivia", lambda name: few)
    return few


def test_wordings_are_dealt_to_the_recordings_and_a_role_and_a_wording_are_kept_back(tmp_path: Path, few: list[Trivia]):
    config = MakeCorpusConfig(sentences=2, test_sentences=1, voices=("ada", "edward", "fay"), trivia="mini")
    make_corpus(tmp_path / "corpus", config, SilentProgress())
    one, two, new = few
    assert records(tmp_path / "corpus" / "questions.jsonl") == [
        {"id": "ada-2-0001", "question": two.wordings[0]},
        {"id": "edward-2-0000", "question": one.question},
        {"id": "fay-2-0000", "question": one.wordings[0]},
        {"id": "fay-2-0001", "question": two.question},
    ]
    spoken = {u.id: u.text for u in find_utterances(tmp_path / "corpus" / "train").utterances}
    assert spoken["ada-2-0001"] == two.answers[0].upper()
    rows = records(tmp_path / "corpus" / "roletrivia.jsonl")
    assert [(row["id"], row["question"], row["split"], row["role"]) for row in rows] == [
        (one.id, one.question, "id", "ada"),
        (f"{one.id}-reworded", one.reworded, "id-reworded", "ada"),
        (two.id, two.question, "id", "edward"),
        (f"{two.id}-reworded", two.reworded, "id-reworded", "edward"),
        (new.id, new.question, "ood", "fay"),
    ]
    assert [row["category"] for row in rows] == [one.category] * 2 + [two.category] * 2 + [new.category]


def test_other_questions_in_the_folder_are_other_settings(tmp_path: Path, few: list[Trivia]):
    config = MakeCorpusConfig(sentences=2, test_sentences=1, voices=("ada", "edward"), trivia="mini")
    make_corpus(tmp_path / "corpus", config, SilentProgress())
    few.pop()
    with pytest.raises(ConfigError, match="made with other settings"):
        make_corpus(tmp_path / "corpus", config, SilentProgress())


def test_one_voice_cannot_keep_a_role_back_and_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(ConfigError, match="2 or more voices"):
        make_corpus(tmp_path / "corpus", MakeCorpusConfig(voices=("ada",), trivia="mini"), SilentProgress())
    assert list(tmp_path.iterdir()) == []

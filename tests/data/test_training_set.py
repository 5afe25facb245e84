"""A training set: references, which are other recordings of the same speaker, and the lengths of its examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from slmtk.config import write_json
from slmtk.data import dataset_writer, training_set
from slmtk.data.bpe import train_bpe
from slmtk.data.dataset import open_dataset
from slmtk.data.dataset_columns import DatasetRow
from slmtk.data.dataset_rows import DatasetRows
from slmtk.data.prompts import TASKS, normalize_text
from slmtk.data.sampling import LengthBucketSampler
from slmtk.data.text_tokenizer import ByteTokenizer, TextTokenizer
from slmtk.data.training_set import TrainingSet
from slmtk.data.vocabulary import Vocabulary
from slmtk.layout import Layout
from tests.data.test_dataset import SPEC, make_rows, write


def open_set(folder: Path, **options: object) -> TrainingSet:
    layout = Layout("grouped", SPEC.num_codebooks, 2)
    return TrainingSet(open_dataset(folder), "train", layout, speaker_aware=True, **options)


def make_set(folder: Path, **options: object) -> TrainingSet:
    vectors = np.random.default_rng(2).normal(size=(24, 3)).astype(np.float32)
    rows = [replace(row, speaker_vector=vector) for row, vector in zip(make_rows(24), vectors, strict=True)]
    rows[3], rows[7] = replace(rows[3], speaker="alone"), replace(rows[7], speaker=None)
    write(folder, rows)
    return open_set(folder, **options)


def test_another_recording_of_the_speaker_conditions_a_row_and_never_its_own(tmp_path):
    rows = make_set(tmp_path / "d")
    seen = set()
    for epoch in range(12):
        rows.set_epoch(epoch)
        for index in range(len(rows)):
            reference = rows.reference_of(index)
            if index in (3, 7):
                assert reference == index
                continue
            assert reference != index
            assert rows.rows.speakers[reference] == rows.rows.speakers[index]
            np.testing.assert_array_equal(rows[index].speaker, rows.rows[reference].speaker_vector)
            seen.add((index, reference))
    assert len({reference for index, reference in seen if index == 0}) == 5


def test_references_depend_on_seed_epoch_and_row_alone(tmp_path):
    rows = make_set(tmp_path / "d")

    def drawn(rows: TrainingSet, epoch: int) -> list[int]:
        rows.set_epoch(epoch)
        return [rows.reference_of(index) for index in range(len(rows))]

    first, second = drawn(rows, 0), drawn(rows, 1)
    assert first != second
    assert drawn(open_set(tmp_path / "d"), 1) == second
    assert drawn(open_set(tmp_path / "d", seed=1), 1) != second


def test_own_vectors_if_asked_for(tmp_path):
    rows = make_set(tmp_path / "d", reference="own")
    assert [rows.reference_of(index) for index in range(len(rows))] == list(range(len(rows)))


TEXTS = ("Hello", "O'clock, he said...", "Is it 7?", '"Quoted" text', "Naïve déjà vu", "Élan", "A", "Strasse — dash")


def mixed_rows() -> list[DatasetRow]:
    """Rows of every task, with texts that begin and end in ways that meet a template's words."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(40):
        task = ("tts", "qa+sqa+asr", "qa-speech+sqa-speech", "text", "tts+asr", "qa", "asr")[number % 7]
        text = normalize_text(TEXTS[number % len(TEXTS)] + " " * (number % 2) + "ab" * (number % 3))
        asks = "qa" in task
        question = f" Who is {number}? " if asks or (task == "text" and number % 2) else None
        frames = 0 if task == "text" else 1 + int(random.integers(400))
        codes = np.stack([random.integers(0, 8, frames), random.integers(0, 4, frames)])
        vector = np.ones(3, np.float32) if frames else None
        speaker = f"s{number % 3}" if frames else None
        row = DatasetRow(f"u{number}", task, text, question, codes, vector, speaker, frames, 0, frames / 80)
        asked = random.integers(0, 4, (2, 1 + int(random.integers(90)))) if "sqa" in task else None
        rows.append(replace(row, question_codes=asked))
    return rows


def write_mixed(folder: Path, tokenizer: TextTokenizer) -> Path:
    folder.mkdir()
    writer = dataset_writer.DatasetWriter(folder, SPEC, spoken_questions=True)
    for row in mixed_rows():
        tokens = len(tokenizer.encode(row.text)) + len(tokenizer.encode(row.question or ""))
        writer.add("train", replace(row, num_text_tokens=tokens))
    tokenizer.save(folder / "tokenizer")
    head = {"format": 1, "kind": "dataset", "codec": SPEC.to_dict(), "tokenizer": {}}
    vocabulary = Vocabulary(tokenizer.vocab_size, SPEC).to_dict()
    tasks = sorted(TASKS)
    write_json(folder / "slmtk.json", {**head, "vocabulary": vocabulary, "tasks": tasks, "splits": writer.close()})
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("mixed")
    pairs = train_bpe([text for text in TEXTS for _ in range(9)], 400)
    return {"bytes": write_mixed(folder / "bytes", ByteTokenizer()), "bpe": write_mixed(folder / "bpe", pairs)}


LAYOUTS = (
    Layout("grouped", 2, 1),
    Layout("grouped", 2, 4),
    Layout("interleaved", 2, order=(1, 0)),
    Layout("delayed", 2),
)


@pytest.mark.parametrize("voice", [{"speaker_aware": False}, {"speaker_aware": True}])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_exact_lengths_are_those_of_the_examples_of_every_task(mixed, tokenizer, layout, voice):
    rows = TrainingSet(open_dataset(mixed[tokenizer]), "train", layout, **voice)
    assert set(rows.rows.tasks) == set(TASKS)
    found = np.array([len(rows[index].input_ids) for index in range(len(rows))])
    # In bytes a question's own spaces, and the frame of an instruction that a text does not have, count as well.
    loose = (
        np.array([row.task in ("qa", "qa-speech", "text") for row in rows.rows])
        if tokenizer == "bytes"
        else np.zeros(len(rows), bool)
    )
    lengths = rows.lengths(exact=True)
    assert lengths[~loose].tolist() == found[~loose].tolist()
    assert np.all(lengths >= found)
    assert np.all(lengths - found <= 20)
    assert np.abs(rows.lengths() - found).max() <= 20


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_with_reference_prompts_no_epoch_exceeds_the_lengths(mixed, layout):
    rows = TrainingSet(open_dataset(mixed["bpe"]), "train", layout, speaker_aware=False, reference_prompt=True)
    lengths = rows.lengths(exact=True)
    longest = np.zeros(len(rows), np.int64)
    for epoch in range(10):
        longest = np.maximum(longest, [len(rows[epoch, index].input_ids) for index in range(len(rows))])
    assert np.all(longest <= lengths)
    assert (longest == lengths).sum() > len(rows) / 2  # most voices here have a recording of three seconds


def test_an_utterance_is_not_its_own_reference_in_another_task(mixed):
    rows = TrainingSet(open_dataset(mixed["bytes"]), "train", LAYOUTS[0], speaker_aware=True)
    for index, utterance in enumerate(rows.rows.utterances):
        if rows.rows.speakers[index] is None:
            assert rows.reference_of(index) == index
            continue
        for epoch in range(8):
            other = rows.reference_of(index, epoch)
            assert rows.rows.utterances[other] != utterance
            assert rows.rows.speakers[other] == rows.rows.speakers[index]


def test_references_are_drawn_from_the_recordings_nearest_in_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(training_set, "NEAR", 4)
    write(tmp_path / "d", [replace(row, speaker="one") for row in make_rows(40)])
    rows = open_set(tmp_path / "d")
    for index, nearest in ((0, {1, 2, 3, 4}), (20, {18, 19, 21, 22}), (39, {35, 36, 37, 38})):
        assert {rows.reference_of(index, epoch) for epoch in range(60)} == nearest


def test_an_epoch_decodes_every_row_group_once_or_hardly_more(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_writer, "_ROW_GROUP", 8)
    monkeypatch.setattr("slmtk.data.sampling.WINDOW_GROUPS", 4)
    vector = np.ones(3, np.float32)
    rows = [replace(row, speaker=f"s{n // 20}", speaker_vector=vector) for n, row in enumerate(make_rows(800))]
    write(tmp_path / "d", rows)
    decoded = []
    real = DatasetRows._group

    def counting(self, number):
        if number not in self._cache:
            decoded.append(number)
        found = real(self, number)
        while len(self._cache) > 12:
            self._cache.popitem(last=False)
        return found

    monkeypatch.setattr(DatasetRows, "_group", counting)
    for reference, times in (("own", 1.0), ("other", 3.0)):
        found = open_set(tmp_path / "d", reference=reference)
        decoded.clear()
        for item in LengthBucketSampler(found.order(0), 4):
            found[item]
        assert 100 <= len(decoded) <= times * 100  # a permutation of all rows would decode some 750


def first_speaker(examples: list) -> np.ndarray:
    return examples[0].speaker.numpy()


def test_workers_that_stay_draw_the_references_of_the_epoch_they_are_asked_for(tmp_path):
    rows = make_set(tmp_path / "d")
    sampler = LengthBucketSampler(rows.order(0), 1)
    loader = DataLoader(rows, sampler=sampler, num_workers=1, persistent_workers=True, collate_fn=first_speaker)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        expected = [rows.rows[rows.reference_of(index, epoch)].speaker_vector for _, index in sampler]
        np.testing.assert_array_equal(np.stack(list(loader)), np.stack(expected))

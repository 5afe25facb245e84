"""References of a training set: other recordings of the same speaker, drawn anew in each epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from slmtk.data.dataset import open_dataset
from slmtk.data.training_set import TrainingSet
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

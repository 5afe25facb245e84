"""Ids -> what enters the backbone: fused codes, and speakers where their places are."""

import pytest
import torch

from slmtk.data.collate import collate, collate_packed
from slmtk.errors import ConfigError, ShapeError
from tests.helpers.small_models import VOCABULARY, example, small_model


def test_each_place_of_a_packed_row_gets_its_own_speaker():
    model = small_model(speaker_dim=2)
    voices = [example("One", frames, model.layout, voice=True) for frames in (3, 7, 5)]
    plain = example("Nobody's", 4, model.layout)
    batch = collate_packed([[voices[0], plain, voices[1]], [voices[2]]], 0)
    assert batch["placeholder"].shape == (3, 2)
    fused = model.embed(batch["input_ids"], batch["placeholder"], batch["speaker"])
    without = model.embed(batch["input_ids"])
    changed = (fused != without).any(-1)
    assert sorted(changed.nonzero().tolist()) == sorted(batch["placeholder"].tolist())
    for (row, place), frames in zip(batch["placeholder"].tolist(), (3.0, 7.0, 5.0), strict=True):
        assert batch["input_ids"][row, place, 0] == VOCABULARY.placeholder
        torch.testing.assert_close(fused[row, place], model.speaker(torch.tensor([[frames, -1.0]]))[0])


def test_places_and_vectors_that_do_not_go_together_are_refused():
    model = small_model(speaker_dim=2)
    ids = torch.zeros(1, 4, 6, dtype=torch.int64)
    place = torch.tensor([[0, 2]])
    with pytest.raises(ConfigError, match="needs a speaker-aware model and a speaker vector"):
        model.embed(ids, place)
    with pytest.raises(ConfigError, match="needs a speaker-aware model"):
        small_model().embed(ids, place, torch.zeros(1, 2))
    for wrong in (torch.zeros(2, 2), torch.zeros(1, 3)):
        with pytest.raises(ShapeError, match=r"expected \[P, 2\] and \[P, 2\]"):
            model.embed(ids, place, wrong)
    with pytest.raises(ShapeError, match="placeholders are"):
        model.embed(ids, torch.tensor([2]), torch.zeros(1, 2))


@pytest.mark.parametrize("fusion", ["mean", "concat"])
def test_delayed_steps_are_fused_also_where_the_first_code_is_missing(fusion):
    model = small_model(layout="delayed", fusion=fusion)
    ids = example("One", 2, model.layout).input_ids  # ... <sosp>, four steps of speech, <eosp>, ...
    first = int((ids[:, 0] == VOCABULARY.sosp).nonzero()) + 1
    assert (ids[first : first + 4] == VOCABULARY.pad).tolist() == [
        [False, True, True],
        [False, False, True],
        [True, False, False],
        [True, True, False],
    ]
    table = model.get_input_embeddings().weight
    fused = model.embed(ids[None])[0]
    for place in range(len(ids)):
        steps = table[ids[place]]
        if fusion == "concat" and first <= place < first + 4:
            torch.testing.assert_close(fused[place], model.fusion(steps))
        else:
            torch.testing.assert_close(fused[place], steps.mean(0), atol=1e-5, rtol=1e-5)


def test_a_padded_batch_without_speakers_needs_no_vectors():
    model = small_model(speaker_dim=2)
    batch = collate([example("One", 3, model.layout), example("Two", 4, model.layout)], 0)
    assert "speaker" not in batch
    assert model(**batch).loss.isfinite()

"""When a step is recorded and what a recording reads, on a CPU with a stand-in for the GPU's graphs."""

import pytest
import torch

from slmtk.models.decoding import graphs
from slmtk.models.decoding.backbone import StepBackbone
from tests.helpers.small_models import small_model


class Tape:
    """Records as a CUDA graph does: what is computed again writes to the tensors of the first time."""

    def __init__(self):
        self.recordings = 0

    def record(self, compute):
        self.recordings += 1
        outputs = compute()

        def replay():
            for old, new in zip(outputs, compute(), strict=True):
                old.copy_(new)

        return replay, outputs


def graphed(model, slots, monkeypatch, shortest=8):
    monkeypatch.setattr(graphs, "SHORTEST_WINDOW", shortest)
    backbone, tape = StepBackbone(model, slots, 8), Tape()
    backbone._graphed = graphs.GraphedStep(backbone._stacks, slots, tape.record)
    return backbone, tape


@pytest.mark.parametrize("head", ["linear", "transformer"])
def test_recorded_steps_give_what_unrecorded_ones_give(monkeypatch, head):
    model = small_model(head=head)
    recorded, tape = graphed(model, 3, monkeypatch)
    plain = StepBackbone(model, 3, 64)
    random = torch.Generator().manual_seed(0)
    prefixes = [torch.randn(length, 128, generator=random) for length in (2, 5)]
    for backbone in (recorded, plain):
        backbone.prefill([0, 2], prefixes)
    kept = []
    for turn in range(30):
        if turn == 7:
            for backbone in (recorded, plain):
                backbone.prefill([1, 0], prefixes)
        inputs = torch.randn(3, 128, generator=random)
        ours, theirs = recorded.step(inputs), plain.step(inputs)
        used = [slot for slot, length in enumerate(plain.lengths) if length]
        for left, right in zip(ours, theirs, strict=True):
            torch.testing.assert_close(left[used], right[used], atol=5e-5, rtol=1e-5)
        kept.append((ours[0], ours[0].clone()))
    assert all(torch.equal(now, then) for now, then in kept)  # a later replay does not write over them
    assert tape.recordings == 4  # windows of 8, 16, 32 and 64 positions: the memory has moved before each of the last
    assert recorded.lengths == plain.lengths


def test_a_window_is_recorded_once_while_the_memory_stays(monkeypatch):
    model = small_model()
    recorded, tape = graphed(model, 1, monkeypatch, shortest=4)
    recorded._stacks[0].make_room(64)
    for length in (2, 7, 3, 12, 2, 6):
        recorded.prefill([0], [torch.ones(length, 128)])
        recorded.step(torch.ones(1, 128))
    assert tape.recordings == 3  # windows of 4, 8 and 16


def test_what_was_recorded_for_the_old_memory_is_not_used_for_the_new(monkeypatch):
    recorded, tape = graphed(small_model(), 1, monkeypatch)
    for length, recordings in ((2, 1), (5, 1), (20, 2), (2, 3), (20, 3)):
        recorded.prefill([0], [torch.ones(length, 128)])
        recorded._stacks[0].make_room(8)
        recorded.step(torch.ones(1, 128))
        assert tape.recordings == recordings

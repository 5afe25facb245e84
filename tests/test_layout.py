import pytest
import torch

from slmtk.errors import ConfigError, ShapeError
from slmtk.layout import KINDS, MISSING, Layout, from_steps, to_steps

CODES = torch.tensor([[10, 11, 12, 13, 14], [20, 21, 22, 23, 24], [30, 31, 32, 33, 34]])  # K = 3, T = 5


def test_interleaved_steps_go_frame_by_frame_then_stream_by_stream():
    steps = to_steps(CODES, Layout("interleaved", 3))
    assert steps.flatten().tolist() == [10, 20, 30, 11, 21, 31, 12, 22, 32, 13, 23, 33, 14, 24, 34]


def test_a_group_of_two_frames_is_six_codes_and_the_last_group_says_what_is_missing():
    steps = to_steps(CODES, Layout("grouped", 3, 2))
    assert steps.tolist() == [
        [10, 20, 30, 11, 21, 31],
        [12, 22, 32, 13, 23, 33],
        [14, 24, 34, MISSING, MISSING, MISSING],
    ]


@pytest.mark.parametrize("frames_per_step", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("num_codebooks", [1, 2, 3, 8])
@pytest.mark.parametrize("num_frames", [0, 1, 4, 5, 12])
def test_grouping_and_ungrouping_gives_the_codes_back(frames_per_step, num_codebooks, num_frames):
    codes = torch.randint(0, 1024, (num_codebooks, num_frames))
    layout = Layout("grouped", num_codebooks, frames_per_step)
    steps = to_steps(codes, layout)
    assert steps.shape == (layout.num_steps(num_frames), num_codebooks * frames_per_step)
    assert torch.equal(from_steps(steps, layout), codes)


def test_interleaving_and_back_gives_the_codes_back():
    layout = Layout("interleaved", 3)
    assert torch.equal(from_steps(to_steps(CODES, layout), layout), CODES)
    assert layout.num_steps(5) == 15


def test_delayed_streams_come_a_frame_later_each():
    steps = to_steps(CODES, Layout("delayed", 3))
    assert steps.tolist() == [
        [10, MISSING, MISSING],
        [11, 20, MISSING],
        [12, 21, 30],
        [13, 22, 31],
        [14, 23, 32],
        [MISSING, 24, 33],
        [MISSING, MISSING, 34],
    ]


def test_delayed_steps_that_are_cut_short_give_their_whole_frames():
    layout = Layout("delayed", 3)
    steps = to_steps(CODES, layout)
    assert torch.equal(from_steps(steps[:4], layout), CODES[:, :2])
    assert from_steps(steps[:2], layout).shape == (3, 0)


def test_an_order_says_which_stream_stands_first_in_every_layout():
    order = (2, 0, 1)
    assert to_steps(CODES, Layout("interleaved", 3, order=order))[:4, 0].tolist() == [30, 10, 20, 31]
    assert to_steps(CODES, Layout("grouped", 3, 2, order))[0].tolist() == [30, 10, 20, 31, 11, 21]
    assert to_steps(CODES, Layout("delayed", 3, order=order))[2].tolist() == [32, 11, 20]


def orders(num_codebooks):
    return [None, tuple(range(num_codebooks))[::-1], (*range(1, num_codebooks), 0)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_codebooks", [1, 2, 3, 8])
@pytest.mark.parametrize("num_frames", [0, 1, 2, 5, 12])
def test_every_layout_and_order_gives_the_codes_back(kind, num_codebooks, num_frames):
    codes = torch.randint(0, 1024, (num_codebooks, num_frames))
    for order in orders(num_codebooks):
        layout = Layout(kind, num_codebooks, order=order)
        steps = to_steps(codes, layout)
        assert steps.shape == (layout.num_steps(num_frames), layout.num_heads)
        assert torch.equal(from_steps(steps, layout), codes)
        for step, head in (steps != MISSING).nonzero().tolist():
            stream = layout.stream_of(head, step)
            frame = step // num_codebooks if kind == "interleaved" else step - layout.delay_of(head)
            assert steps[step, head] == codes[stream, frame]
        heads_that_miss = {int(head) for head in (steps == MISSING).nonzero()[:, 1]}
        assert all(layout.may_miss(head) for head in heads_that_miss)


def test_only_heads_of_a_steps_later_frames_and_of_delayed_streams_may_miss_theirs():
    assert [Layout("grouped", 2, 2).may_miss(head) for head in range(4)] == [False, False, True, True]
    assert [Layout("delayed", 2).may_miss(head) for head in range(2)] == [True, True]
    assert not Layout("interleaved", 2).may_miss(0)


def test_heads_know_their_stream_and_frame():
    layout = Layout("grouped", 3, 4)
    assert layout.num_heads == 12
    assert [layout.stream_of(h) for h in range(6)] == [0, 1, 2, 0, 1, 2]
    assert [layout.frame_in_step(h) for h in range(12)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [Layout("interleaved", 3).stream_of(0, step) for step in range(4)] == [0, 1, 2, 0]
    reverse = (2, 1, 0)
    assert [Layout("interleaved", 3, order=reverse).stream_of(0, step) for step in range(4)] == [2, 1, 0, 2]
    assert [Layout("grouped", 3, 2, reverse).stream_of(head) for head in range(6)] == [2, 1, 0, 2, 1, 0]
    assert [Layout("delayed", 3, order=reverse).stream_of(head) for head in range(3)] == [2, 1, 0]
    assert [Layout("delayed", 3, order=reverse).delay_of(head) for head in range(3)] == [0, 1, 2]


def test_paper_rates_are_240_80_40_and_20_steps_a_second():
    rates = [Layout("interleaved", 3).steps_per_second(80)]
    rates += [Layout("grouped", 3, g).steps_per_second(80) for g in (1, 2, 4)]
    assert rates == [240, 80, 40, 20]
    assert Layout("delayed", 3).steps_per_second(80) == 80


def test_wrong_shapes_and_kinds_are_refused():
    with pytest.raises(ShapeError, match=r"\[2, 5\]"):
        to_steps(CODES[:2], Layout("grouped", 3, 2))
    with pytest.raises(ShapeError, match="not a whole number"):
        from_steps(torch.zeros(4, 1, dtype=torch.int64), Layout("interleaved", 3))
    with pytest.raises(ConfigError, match="unknown"):
        Layout("spiral", 3)
    with pytest.raises(ConfigError, match="1 frame a step"):
        Layout("interleaved", 3, 2)
    with pytest.raises(ConfigError, match="the delayed layout has 1 frame a step, not 4"):
        Layout("delayed", 3, 4)
    for order in ((0, 1), (0, 1, 1), (1, 2, 3)):
        with pytest.raises(ConfigError, match="expected each of 0 to 2 once"):
            Layout("grouped", 3, 1, order)

import pytest
import torch

from slmtk.errors import ConfigError, ShapeError
from slmtk.layout import MISSING, Layout, from_steps, to_steps

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


def test_heads_know_their_stream_and_frame():
    layout = Layout("grouped", 3, 4)
    assert layout.num_heads == 12
    assert [layout.stream_of(h) for h in range(6)] == [0, 1, 2, 0, 1, 2]
    assert [layout.frame_in_step(h) for h in range(12)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [Layout("interleaved", 3).stream_of(0, step) for step in range(4)] == [0, 1, 2, 0]


def test_paper_rates_are_240_80_40_and_20_steps_a_second():
    rates = [Layout("interleaved", 3).steps_per_second(80)]
    rates += [Layout("grouped", 3, g).steps_per_second(80) for g in (1, 2, 4)]
    assert rates == [240, 80, 40, 20]


def test_wrong_shapes_and_kinds_are_refused():
    with pytest.raises(ShapeError, match=r"\[2, 5\]"):
        to_steps(CODES[:2], Layout("grouped", 3, 2))
    with pytest.raises(ShapeError, match="not a whole number"):
        from_steps(torch.zeros(4, 1, dtype=torch.int64), Layout("interleaved", 3))
    with pytest.raises(ConfigError, match="unknown"):
        Layout("spiral", 3)
    with pytest.raises(ConfigError, match="1 frame a step"):
        Layout("interleaved", 3, 2)

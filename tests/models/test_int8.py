"""Weights as 8-bit numbers and back."""

from __future__ import annotations

import pytest
import torch

from slmtk.errors import ShapeError
from slmtk.models.int8 import from_int8, to_int8


def test_each_row_has_its_own_scale():
    weight = torch.tensor([[1.27, -0.635, 0.014], [0.0, 0.0, 0.0], [-254.0, 127.0, 1.0]])
    numbers, scales = to_int8(weight)
    assert numbers.dtype == torch.int8
    assert numbers.tolist() == [[127, -64, 1], [0, 0, 0], [-127, 64, 0]]  # 63.5 and 0.5 round to the even number
    torch.testing.assert_close(scales, torch.tensor([0.01, 0.0, 2.0]))
    expected = torch.tensor([[1.27, -0.64, 0.01], [0.0, 0.0, 0.0], [-254.0, 128.0, 0.0]])
    torch.testing.assert_close(from_int8(numbers, scales), expected)


def test_no_number_is_off_by_more_than_half_a_step():
    weight = (
        torch.randn(40, 3, 30, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 4, 40)[:, None, None]
    )
    numbers, scales = to_int8(weight)
    off = (from_int8(numbers, scales) - weight).abs().flatten(1).amax(1)
    assert numbers.shape == weight.shape
    assert (off <= scales * 0.5001).all()
    again, same = to_int8(from_int8(numbers, scales))
    assert torch.equal(again, numbers)
    torch.testing.assert_close(same, scales)


@pytest.mark.parametrize("weight", [torch.ones(3), torch.tensor([[1.0, torch.nan]]), torch.tensor([[torch.inf, 1.0]])])
def test_vectors_and_numbers_that_are_not_finite_are_refused(weight):
    with pytest.raises(ShapeError, match="expected a matrix of finite numbers"):
        to_int8(weight)


def test_there_is_one_scale_for_each_row():
    with pytest.raises(ShapeError, match=r"expected int8 \[N, ...\] and \[N\]"):
        from_int8(torch.zeros(2, 3, dtype=torch.int8), torch.ones(3))
    with pytest.raises(ShapeError, match="int16"):
        from_int8(torch.zeros(2, 3, dtype=torch.int16), torch.ones(2))

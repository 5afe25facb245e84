"""Cosine of speaker vectors."""

from __future__ import annotations

import pytest
import torch

from slmtk.errors import ShapeError
from slmtk.metrics.similarity import cosine


def test_cosines_are_those_of_the_angles():
    assert cosine(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])) == 0.0
    assert cosine(torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0])) == pytest.approx(0.96)
    assert cosine(torch.tensor([2.0, 1.0]), torch.tensor([-2.0, -1.0])) == pytest.approx(-1.0)


@pytest.mark.parametrize("other", [torch.zeros(2), torch.ones(3), torch.ones(1, 2)])
def test_vectors_that_cannot_be_compared_are_refused(other):
    with pytest.raises(ShapeError):
        cosine(torch.ones(2), other)

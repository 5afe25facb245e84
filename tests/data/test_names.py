from __future__ import annotations

import numpy as np
import pyarrow as pa

from slmtk.data.names import Names, NamesBuilder


def test_names_of_several_pieces_come_back_with_one_number_each():
    builder = NamesBuilder()
    builder.add(pa.array(["b", None, "a"]))
    builder.add(pa.array([], pa.string()))
    builder.add(pa.array([None, "a", "c", "b"]))
    names = builder.build()
    assert list(names) == ["b", None, "a", None, "a", "c", "b"]
    assert names.names == ("b", "a", "c")
    assert names.codes.tolist() == [0, -1, 1, -1, 1, 2, 0]
    assert names.codes.dtype == np.int32
    assert (names[1], names[5], len(names)) == (None, "c", 7)


def test_slices_and_choices_keep_the_names():
    names = Names(np.array([0, -1, 1], np.int32), ("x", "y"))
    assert list(names[1:]) == [None, "y"]
    assert list(names.take(np.array([2, 2, 0]))) == ["y", "y", "x"]

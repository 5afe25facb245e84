"""A column of few different names, as numbers: four bytes a row. Dataset -> order of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


class Names(Sequence["str | None"]):
    """Names by index, None where there is none.

    Attributes:
        codes: int32 [rows], places in ``names``; -1 for None.
        names: the different ones, in order of first appearance.
    """

    def __init__(self, codes: NDArray[np.int32], names: Sequence[str]) -> None:
        """Take the numbers and what they stand for."""
        self.codes = codes
        self.names = tuple(names)

    def __len__(self) -> int:
        """Rows."""
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> str | None: ...

    @overload
    def __getitem__(self, index: slice) -> Names: ...

    def __getitem__(self, index: int | slice) -> str | Names | None:
        """Return the name of row ``index``, or the names of a slice of rows."""
        if isinstance(index, slice):
            return Names(self.codes[index], self.names)
        code = int(self.codes[index])
        return None if code < 0 else self.names[code]

    def __iter__(self) -> Iterator[str | None]:
        """Yield the name of every row."""
        return (None if code < 0 else self.names[code] for code in self.codes.tolist())

    def take(self, rows: NDArray[np.int64]) -> Names:
        """Return the names of ``rows``, int64 [n], in that order."""
        return Names(self.codes[rows], self.names)


class NamesBuilder:
    """Collects a column's pieces, without a Python object a row."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._known: dict[str, int] = {}
        self._pieces: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]

    def add(self, column: pa.StringArray) -> None:
        """Append the rows of ``column``."""
        encoded = column.dictionary_encode()
        # The last place is where -1, a row without a name, points.
        numbers = [self._known.setdefault(name, len(self._known)) for name in encoded.dictionary.to_pylist()]
        table = np.array([*numbers, -1], np.int32)
        self._pieces.append(table[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)])

    def build(self) -> Names:
        """All rows."""
        return Names(np.concatenate(self._pieces), list(self._known))

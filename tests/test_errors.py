"""Other libraries' messages in ours."""

from __future__ import annotations

import pytest

from slmtk.errors import first_line, one_line


@pytest.mark.parametrize(
    ("error", "first", "one"),
    [
        (OSError("no such\nfile here"), "no such", "no such file here"),
        (ValueError("\n  indented\nmore"), "indented", "indented more"),
        (RuntimeError(""), "RuntimeError", "RuntimeError"),
        (KeyError(), "KeyError", "KeyError"),
    ],
)
def test_a_message_becomes_one_line_and_an_empty_one_its_kind(error: Exception, first: str, one: str):
    assert (first_line(error), one_line(error)) == (first, one)

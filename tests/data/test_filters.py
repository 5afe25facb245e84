from __future__ import annotations

import math
from typing import Any

import pytest

from slmtk.data.filters import FilterConfig, check_columns, parse_minimum, why_drop
from slmtk.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "text", "seconds", "reason"),
    [
        ({}, "Hello", 1.0, None),
        ({}, "", 1.0, "no text"),
        ({}, "Hello", 0.3, None),
        ({}, "Hello", 0.29, "shorter than 0.3 s"),
        ({}, "Hello", math.nan, "shorter than 0.3 s"),
        ({}, "Hello", 30.0, None),
        ({}, "Hello", 30.01, "longer than 30 s"),
        ({"min_chars": 5}, "Hello", 1.0, None),
        ({"min_chars": 6}, "Hello", 1.0, "fewer than 6 characters"),
        ({"max_chars": 4}, "Hello", 1.0, "more than 4 characters"),
        ({"min_chars_per_second": 2.5}, "Hello", 2.0, None),
        ({"min_chars_per_second": 2.6}, "Hello", 2.0, "fewer than 2.6 characters a second"),
        ({"max_chars_per_second": 2.5}, "Hello", 2.0, None),
        ({"max_chars_per_second": 2.4}, "Hello", 2.0, "more than 2.4 characters a second"),
        ({"min_seconds": 0, "max_chars_per_second": 99}, "Hello", 0.0, "more than 99 characters a second"),
    ],
)
def test_each_limit_keeps_its_own_value_and_names_itself(
    settings: dict[str, Any], text: str, seconds: float, reason: str | None
):
    assert why_drop(text, seconds, {}, FilterConfig(**settings)) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [(3.5, None), ("3.5", None), (3.4, "mos below 3.5"), ("good", "mos is not a number"), (math.nan, "no mos")],
)
def test_columns_are_compared_as_numbers(value: float | str, reason: str | None):
    assert why_drop("Hello", 1.0, {"mos": value}, FilterConfig(minimums=(("mos", 3.5),))) == reason


def test_a_row_without_the_column_is_dropped_by_name():
    assert why_drop("Hello", 1.0, {}, FilterConfig(minimums=(("mos", 3.5),))) == "no mos"


def test_a_mistyped_column_is_refused_with_its_neighbour():
    with pytest.raises(ConfigError, match="did you mean 'dnsmos'"):
        check_columns([("dnsmo", 3.5)], {"dnsmos", "duration"})
    with pytest.raises(ConfigError, match="there are: none"):
        check_columns([("x", 3.5)], set())
    check_columns([("dnsmos", 3.5)], {"dnsmos"})


def test_minimums_are_read_from_the_command_line():
    assert parse_minimum("dnsmos=3.5") == ("dnsmos", 3.5)
    for wrong in ("dnsmos", "=3", "dnsmos=", "dnsmos=high", "dnsmos=nan"):
        with pytest.raises(ConfigError, match="COLUMN=VALUE"):
            parse_minimum(wrong)


@pytest.mark.parametrize(
    "settings",
    [
        {"min_seconds": 5, "max_seconds": 4},
        {"min_chars": 5, "max_chars": 4},
        {"min_chars_per_second": 5, "max_chars_per_second": 4},
        {"min_seconds": math.nan},
        {"minimums": (("a", 1.0), ("a", 2.0))},
    ],
)
def test_limits_that_let_nothing_pass_are_refused(settings: dict[str, Any]):
    with pytest.raises(ConfigError):
        FilterConfig(**settings)

"""How codes are chosen: the options that every command with a model that speaks has, each spelled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from slmtk.models.sampling import Sampling

_OPTIONS = (
    click.option("--temperature", default=0.0, show_default=True, help="0: always the best code (greedy)."),
    click.option(
        "--choose",
        type=click.Choice(("draw", "mean")),
        help="mean: the code nearest to the mean of all, weighed by their probability at the temperature; smoother, "
        "for codecs that know which codes sound alike (world). Default: the model's own, or draw.",
    ),
    click.option("--top-k", default=0, show_default=True, help="Choose among the k best codes; 0: all."),
    click.option("--top-p", default=1.0, show_default=True, help="Choose among the best codes of this probability."),
    click.option(
        "--min-p",
        default=0.0,
        show_default=True,
        help="Choose among codes with this share of the best one's probability.",
    ),
    click.option(
        "--repetition-penalty", type=float, help="Default: 1.2 for next-token models, 1.0 for multi-token models."
    ),
    click.option(
        "--repetition-window",
        default=0,
        show_default=True,
        help="Repetition-aware sampling: draw a code again that is more than a tenth of its stream's last so many; 0: "
        "off, 10 is usual.",
    ),
    click.option("--min-seconds", default=0.0, show_default=True, help="Speech does not end before."),
    click.option("--max-seconds", default=20.0, show_default=True, help="Longer speech is cut and counts as failed."),
    click.option(
        "--max-seconds-per-char",
        default=0.0,
        show_default=True,
        help="Speech longer than this for each character of its text is cut and counts as failed; 0: no such limit.",
    ),
    click.option("--loop-seconds", default=2.0, show_default=True, help="Repetition after which to give up; 0: never."),
)
_NAMES = (
    "temperature",
    "choose",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "repetition_window",
    "min_seconds",
    "max_seconds",
    "max_seconds_per_char",
    "loop_seconds",
)


def sampling_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; `pop_sampling` takes their values out of its arguments again."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def pop_sampling(options: dict[str, Any]) -> Sampling:
    """Take the values of `sampling_options` out of ``options`` and put them together, with the ``--seed``.

    Raises:
        ConfigError: a value is out of its range.
    """
    from slmtk.models.sampling import Sampling

    options["choose"] = options["choose"] or ""
    return Sampling(seed=options.pop("seed"), **{name: options.pop(name) for name in _NAMES})

"""Loading and saving models without transformers' own bars and advice: slmtk reports through `slmtk.progress` alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers from drawing bars within the block."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def errors_only() -> Iterator[None]:
    """Keep transformers from drawing bars and from warnings about settings that are meant; errors still come through.

    Whisper's published rules of generation bring on two in every batch.
    """
    from transformers.utils import logging

    level = logging.get_verbosity()
    with no_bars():
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(level)

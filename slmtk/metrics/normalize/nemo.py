"""NeMo's written-to-spoken grammar as a normaliser: "50" and "fifty" become equal as words, not as digits."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slmtk.errors import MissingDependencyError
from slmtk.metrics.normalize.marks import single_blanks
from slmtk.plugins import mended_by

_PACKAGE = "nemo_text_processing"
_NO_LETTER = re.compile(r"[^a-zA-Z\s]+")


def english() -> Callable[[str], str]:
    """Return the normaliser: NeMo's `Normalizer(input_case="cased", lang="en")`, then only a to z and blanks stay.

    Building the grammar takes the better part of a minute; it is kept below XDG_CACHE_HOME, or ~/.cache, and then loads
    in a second. Source: metric_stats.py and normalize_text.py of https://github.com/keonlee9420/evaluate-zero-shot-tts,
    the evaluation of CLaM-TTS (arXiv 2404.02781) and DiTTo-TTS (arXiv 2406.11427).

    Raises:
        MissingDependencyError: nemo_text_processing is not installed.
    """
    try:
        from nemo_text_processing.text_normalization.normalize import Normalizer
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the normaliser 'nemo-english' needs the package {error.name!r}, which is not installed: "
            f"pip install '{mended_by(_PACKAGE)}'"
        ) from error
    # It sets its own level back with every text; what it is doing is of no interest, what went wrong is.
    logging.getLogger("NeMo-text-processing").addFilter(lambda record: record.levelno >= logging.WARNING)
    grammar = _kept(Normalizer)

    def normalize(text: str) -> str:
        spoken: str = grammar.normalize(text, verbose=False, punct_post_process=False)
        return single_blanks(_NO_LETTER.sub("", spoken).lower())

    return normalize


def _kept(build: Callable[..., Any]) -> Any:
    """Load the grammar from the cache, or build it and put it there whole: other processes may be looking."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slmtk"
    folder = base / f"{_PACKAGE}-{version(_PACKAGE)}-en"
    if folder.is_dir():
        return build(input_case="cased", lang="en", cache_dir=str(folder))
    try:
        base.mkdir(parents=True, exist_ok=True)
        unfinished = tempfile.mkdtemp(prefix=f"{folder.name}.", dir=base)
    except OSError:  # a cache that cannot be written costs time, no more
        return build(input_case="cased", lang="en")
    try:
        grammar = build(input_case="cased", lang="en", cache_dir=unfinished)
        with contextlib.suppress(OSError):  # another process was first
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return grammar

"""seed-tts-eval's normaliser for Chinese: simplified characters, one a word, so that a word error is a character's."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from slmtk.errors import MissingDependencyError
from slmtk.metrics.normalize.marks import without_marks
from slmtk.plugins import mended_by


def seed_tts_zh() -> Callable[[str], str]:
    """Return the normaliser.

    Source: run_wer.py of https://github.com/BytedanceSpeech/seed-tts-eval with `zhconv.convert(text, "zh-cn")`. There
    transcripts alone are converted; here references are too, which makes no difference to references that are
    simplified already, as those of its test set are.

    Raises:
        MissingDependencyError: zhconv is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources")  # zhconv reads its table with it
            from zhconv import convert
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "the normaliser 'seed-tts-zh' needs the package 'zhconv' for simplified characters, which is not "
            f"installed: pip install '{mended_by('zhconv')}'"
        ) from error

    def normalize(text: str) -> str:
        simplified: str = convert(text, "zh-cn")
        return " ".join(character for character in without_marks(simplified) if not character.isspace())

    return normalize

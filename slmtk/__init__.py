"""slmtk: build speech language models. Audio -> codes -> dataset -> model -> speech -> score.

The public names below load on first use, so that ``import slmtk`` costs nothing and imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "CodecSpec": "slmtk.spec",
    "Stream": "slmtk.spec",
    "Utterance": "slmtk.spec",
    "SlmtkError": "slmtk.errors",
    "Codec": "slmtk.codecs.base",
    "load_codec": "slmtk.codecs.base",
    "Recognizer": "slmtk.asr.base",
    "load_recognizer": "slmtk.asr.base",
    "SpeakerEncoder": "slmtk.speakers.base",
    "load_speaker_encoder": "slmtk.speakers.base",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'slmtk' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted(__all__)

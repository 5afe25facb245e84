"""A finished model folder with random weights, whose codec worker processes find too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from slmtk.config import write_json
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.models.build import build_model
from tests.helpers.tone import VoicedToneCodec


def save_untrained(folder: Path, *, seed: int = 0) -> Path:
    """Write a model that babbles codes of `VoicedToneCodec`, two frames a step."""
    torch.manual_seed(seed)
    spec = dataclasses.replace(VoicedToneCodec.spec, source="tests.helpers.tone:VoicedToneCodec")
    settings = {"layout": "grouped", "frames_per_step": 2}
    build_model(settings, Vocabulary(259, spec).to_dict(), base="tiny", size="xs").save_pretrained(folder)
    ByteTokenizer().save(folder / "tokenizer")
    write_json(folder / "slmtk.json", {"kind": "model", "codec": spec.to_dict(), "tasks": ["tts"]})
    return folder

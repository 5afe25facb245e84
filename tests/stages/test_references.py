"""The voices that speech is compared with can come from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmtk.errors import CorpusError, FormatError
from slmtk.stages.speech_sources import SpeechSource, Spoken, with_references


def speech(*ids: str) -> SpeechSource:
    own = Path("own.wav")
    return SpeechSource("codes", "folder", {i: Spoken(i, "text", None, None, reference=own) for i in ids})


def references(folder: Path, pairs: dict[str, str]) -> Path:
    path = folder / "voices.jsonl"
    lines = [json.dumps({"id": i, "text": "t", "reference": name}) for i, name in pairs.items()]
    path.write_text("\n".join(lines))
    return path


def test_references_are_joined_by_id_and_the_others_keep_their_own(tmp_path):
    (tmp_path / "a.wav").touch()
    found = with_references(speech("x", "y"), references(tmp_path, {"x": "a.wav"}))
    assert {i: s.reference for i, s in found.utterances.items()} == {"x": tmp_path / "a.wav", "y": Path("own.wav")}


def test_a_reference_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"names the reference .*gone\.wav, which is not there"):
        with_references(speech("x"), references(tmp_path, {"x": "gone.wav"}))


def test_a_file_about_other_utterances_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(CorpusError, match="for none of the ids of folder"):
        with_references(speech("x"), references(tmp_path, {"z": "a.wav"}))

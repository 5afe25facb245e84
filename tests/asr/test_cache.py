"""Kept transcripts: nothing is recognised twice, nothing wrong is believed, no crash and no neighbour loses any."""

from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path

import pytest
import torch

from slmtk.asr.base import Recognizer
from slmtk.asr.cache import CachedRecognizer, default_cache_folder
from slmtk.errors import ConfigError


class LengthRecognizer(Recognizer):
    """Hears the number of samples and notes which utterances it was given."""

    def __init__(self, name: str = "length 1", rules: int = 1) -> None:
        self.name, self.rules = name, rules
        self.sample_rate = 8_000
        self.calls: list[list[int]] = []

    @classmethod
    def create(cls, *, model=None, grammar=None, device="cpu"):
        return cls()

    def transcribe(self, wavs):
        self.calls.append([len(wav) for wav in wavs])
        return [f"{len(wav)} „samples“\n" for wav in wavs]


def sounds(*lengths: int) -> list[torch.Tensor]:
    return [torch.full((length,), 0.25) for length in lengths]


def text(length: int) -> str:
    return f"{length} „samples“\n"


def test_what_was_heard_once_is_not_heard_again(tmp_path):
    inner = LengthRecognizer()
    recognizer = CachedRecognizer(inner, tmp_path)
    assert recognizer.transcribe(sounds(3, 1, 2)) == [text(3), text(1), text(2)]
    assert (recognizer.hits, recognizer.misses) == (0, 3)
    assert recognizer.transcribe(sounds(2, 4)) == [text(2), text(4)]
    assert (recognizer.hits, recognizer.misses) == (1, 4)
    assert inner.calls == [[1, 2, 3], [4]]


def test_a_later_run_finds_the_transcripts_in_the_file(tmp_path):
    CachedRecognizer(LengthRecognizer(), tmp_path).transcribe(sounds(3, 0))
    later = CachedRecognizer(LengthRecognizer(), tmp_path)
    assert later.transcribe(sounds(0, 3, 5)) == [text(0), text(3), text(5)]
    assert (later.hits, later.misses) == (2, 1)
    assert later._recognizer.calls == [[5]]


def test_the_same_sound_twice_in_one_call_is_heard_once(tmp_path):
    recognizer = CachedRecognizer(LengthRecognizer(), tmp_path)
    assert recognizer.transcribe(sounds(2, 2, 2)) == [text(2)] * 3
    assert (recognizer.hits, recognizer.misses) == (2, 1)
    assert recognizer._recognizer.calls == [[2]]


def test_one_changed_sample_is_another_sound(tmp_path):
    recognizer = CachedRecognizer(LengthRecognizer(), tmp_path)
    (wav,) = sounds(100)
    other = wav.clone()
    other[50] += 1e-6
    recognizer.transcribe([wav])
    apart = torch.stack([wav, other], dim=1)[:, 0]  # equals wav, but its samples do not lie side by side
    recognizer.transcribe([other, apart])
    assert (recognizer.hits, recognizer.misses) == (1, 2)


def test_other_recognisers_and_other_rules_have_files_of_their_own(tmp_path):
    for number, inner in enumerate([LengthRecognizer(), LengthRecognizer("length 2"), LengthRecognizer(rules=2)], 1):
        recognizer = CachedRecognizer(inner, tmp_path)
        recognizer.transcribe(sounds(1))
        assert recognizer.misses == 1
        assert len(list(tmp_path.iterdir())) == number
    slashed = CachedRecognizer(LengthRecognizer("transformers openai/whisper-tiny abc zh"), tmp_path)
    assert slashed.path.parent == tmp_path
    assert slashed.path.name.startswith("transformers-openai-whisper-tiny-abc-zh-")


def test_it_stands_in_for_the_recogniser_inside(tmp_path):
    inner = LengthRecognizer()
    recognizer = CachedRecognizer(inner, tmp_path / "new" / "folder")
    recognizer.workers = 3
    assert (recognizer.name, recognizer.sample_rate, inner.workers) == ("length 1", 8_000, 3)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match="wrap one"):
        CachedRecognizer.create()


def damaged(line: bytes, how: str) -> bytes:
    match how:
        case "cut off":
            return line[: len(line) // 2]
        case "other text":
            return line.replace(b"3 ", b"4 ")
        case "other sound":
            return line.replace(b'"sound": "', b'"sound": "0', 1)
        case "no text":
            return b"[]"
        case "bytes":
            return b"\xff\xfe\x00" + line


@pytest.mark.parametrize("how", ["cut off", "other text", "other sound", "no text", "bytes"])
def test_a_damaged_line_is_named_once_and_its_sound_heard_again(tmp_path, how):
    CachedRecognizer(LengthRecognizer(), tmp_path).transcribe(sounds(1, 2, 3))
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().split(b"\n")
    at = next(number for number, line in enumerate(lines) if b'"3 ' in line)
    lines[at] = damaged(lines[at], how)
    path.write_bytes(b"\n".join(lines))
    said: list[str] = []
    recognizer = CachedRecognizer(LengthRecognizer(), tmp_path, message=said.append)
    assert recognizer.transcribe(sounds(1, 2, 3)) == [text(1), text(2), text(3)]
    assert recognizer._recognizer.calls == [[3]]
    assert said == [f"{path} has 1 damaged lines; what they held is recognised again"]
    mended = CachedRecognizer(LengthRecognizer(), tmp_path, message=lambda line: None)
    mended.transcribe(sounds(1, 2, 3))
    assert mended.misses == 0


def test_a_line_cut_off_by_a_crash_does_not_swallow_the_next(tmp_path):
    first = CachedRecognizer(LengthRecognizer(), tmp_path)
    first.transcribe(sounds(1, 2))
    first.path.write_bytes(first.path.read_bytes()[:-20])
    CachedRecognizer(LengthRecognizer(), tmp_path).transcribe(sounds(5))
    last = CachedRecognizer(LengthRecognizer(), tmp_path, message=lambda line: None)
    last.transcribe(sounds(1, 5, 2))
    assert last._recognizer.calls == [[2]]


def test_a_damaged_file_is_one_line_on_stderr(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own; a program of ours has none
    recognizer = CachedRecognizer(LengthRecognizer(), tmp_path)
    recognizer.path.write_bytes(b"\x00" * 50 + b"\n" + b"{}\n")
    assert recognizer.transcribe(sounds(2)) == [text(2)]
    said = f"{recognizer.path} has 2 damaged lines; what they held is recognised again\n"
    assert capsys.readouterr() == ("", said)


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    said: list[str] = []
    recognizer = CachedRecognizer(LengthRecognizer(), blocked / "cache", message=said.append)
    assert recognizer.transcribe(sounds(1)) == [text(1)]
    assert recognizer.transcribe(sounds(1, 2)) == [text(1), text(2)]
    assert len(said) == 2
    assert "cannot be written" in said[1]
    assert recognizer.misses == 2


def test_a_crash_in_the_middle_leaves_what_was_heard_before(tmp_path):
    class Dying(LengthRecognizer):
        def transcribe(self, wavs):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().transcribe(wavs)

    with pytest.raises(KeyboardInterrupt):
        CachedRecognizer(Dying(), tmp_path).transcribe(sounds(*range(1, 200)))
    after = CachedRecognizer(LengthRecognizer(), tmp_path)
    after.transcribe(sounds(*range(1, 200)))
    assert after.hits == 128
    assert after.misses == 71


def fill(folder: Path, first: int) -> None:
    recognizer = CachedRecognizer(LengthRecognizer(), folder)
    for length in range(first, first + 150):
        recognizer.transcribe(sounds(length))


def test_processes_that_write_at_a_time_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    # Ranges overlap: two processes may hear the same sound, and write the same line.
    processes = [context.Process(target=fill, args=(tmp_path, first)) for first in (0, 100, 200)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    said: list[str] = []
    after = CachedRecognizer(LengthRecognizer(), tmp_path, message=said.append)
    assert after.transcribe(sounds(*range(350))) == [text(length) for length in range(350)]
    assert (after.misses, said) == (0, [])


def test_what_a_neighbour_has_heard_meanwhile_is_found(tmp_path):
    one, two = (CachedRecognizer(LengthRecognizer(), tmp_path) for _ in range(2))
    one.transcribe(sounds(1))
    two.transcribe(sounds(2))
    one.transcribe(sounds(2))
    assert one._recognizer.calls == [[1]]


def test_the_file_can_be_read_by_others(tmp_path):
    recognizer = CachedRecognizer(LengthRecognizer(), tmp_path)
    recognizer.transcribe(sounds(7))
    (line,) = [line for line in recognizer.path.read_text().splitlines() if line]
    assert json.loads(line)["text"] == text(7)


def test_the_default_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "slmtk" / "transcripts"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert default_cache_folder() == Path("/somewhere/.cache/slmtk/transcripts")

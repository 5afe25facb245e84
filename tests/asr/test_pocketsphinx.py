"""The embedded recogniser on real speech: order, loudness, grammars."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import soundfile
import torch

pytest.importorskip("pocketsphinx")

from slmtk.asr.base import load_recognizer
from slmtk.asr.pocketsphinx import PocketsphinxRecognizer, grammar_words
from slmtk.errors import AudioError, ConfigError, FormatError, MissingDependencyError

DIGITS = "zero | one | two | three | four | five | six | seven | eight | nine"


@pytest.fixture
def grammar(tmp_path: Path) -> Path:
    path = tmp_path / "digits.jsgf"
    path.write_text(f"#JSGF V1.0;\ngrammar digits;\npublic <digit> = {DIGITS};\n")
    return path


def read_digits(shared_data: Path, *names: str) -> list[torch.Tensor]:
    """Real digits of FSDD, 16 kHz; a name is digit, speaker, index."""
    from torchaudio.functional import resample

    wavs = []
    for name in names:
        samples, rate = soundfile.read(shared_data / f"fsdd/recordings/{name}.flac", dtype="float32")
        wavs.append(resample(torch.from_numpy(samples), rate, 16_000))
    return wavs


@pytest.fixture
def digits(shared_data: Path) -> dict[str, torch.Tensor]:
    """Three digits of one speaker that the recogniser understands."""
    wavs = read_digits(shared_data, "3_jackson_5", "8_jackson_5", "9_jackson_5")
    return dict(zip(("three", "eight", "nine"), wavs, strict=True))


def test_digits_are_heard_under_a_digit_grammar(grammar, digits):
    recognizer = load_recognizer("pocketsphinx", grammar=grammar)
    assert recognizer.transcribe(list(digits.values())) == list(digits)


def test_what_was_recognised_before_changes_nothing(shared_data):
    # A decoder that is used again hears the second of these otherwise after the first.
    wavs = read_digits(shared_data, "0_george_5", "0_jackson_5")
    recognizer = PocketsphinxRecognizer()
    together = recognizer.transcribe(wavs)
    assert recognizer.transcribe(wavs[::-1]) == together[::-1]
    assert recognizer.transcribe(wavs[1:]) == together[1:]


def test_two_processes_give_the_same_texts_in_the_same_order(grammar, digits):
    wavs = [*digits.values(), torch.zeros(0), *digits.values()]
    parallel = PocketsphinxRecognizer(grammar, workers=2).transcribe(wavs)
    assert parallel == [*digits, "", *digits]


def test_very_quiet_speech_is_heard_like_loud_speech(grammar, digits):
    quiet = [wav * 0.002 / wav.abs().max() for wav in digits.values()]
    assert PocketsphinxRecognizer(grammar).transcribe(quiet) == list(digits)


def test_empty_short_and_silent_audio_says_nothing(grammar):
    wavs = [torch.zeros(0), torch.ones(100) * 0.3, torch.zeros(8000), torch.full((8000,), 1e-6), torch.tensor([0.5])]
    assert PocketsphinxRecognizer(grammar).transcribe(wavs) == [""] * 5


def test_samples_that_are_no_numbers_are_refused(grammar):
    with pytest.raises(AudioError, match="NaN"):
        PocketsphinxRecognizer(grammar).transcribe([torch.tensor([0.1, float("nan")])])


def test_words_of_a_grammar_are_found_among_everything_else_jsgf_allows(tmp_path):
    path = tmp_path / "all.jsgf"
    path.write_text(
        "#JSGF V1.0 UTF-8 en;\n// nothing here\ngrammar test;\n/* nor\nhere */\n"
        "public <order> = [please] <verb> the (/0.3/ DOOR {tag words} | /0.7/ window)* o'clock <NULL>;\n"
        "<verb> = open | shut+;\n"
    )
    assert grammar_words(path) == ["DOOR", "o'clock", "open", "please", "shut", "the", "window"]
    assert "all.jsgf" in PocketsphinxRecognizer(path).name


def test_a_word_without_pronunciation_is_named(tmp_path):
    path = tmp_path / "odd.jsgf"
    path.write_text("#JSGF V1.0;\ngrammar odd;\npublic <a> = one | zzyzzx;\n")
    with pytest.raises(FormatError, match="1 words are not in the recogniser's dictionary: 'zzyzzx'"):
        PocketsphinxRecognizer(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("public <a> = one;", "first line must be"),
        ("#JSGF V1.0;\ngrammar g;\n<a> = one;\n", "no public rule"),
        ("#JSGF V1.0;\ngrammar g;\nimport <other.*>;\npublic <a> = one;\n", "imports another"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = one <b>;\n", "does not define: <b>"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = (one;\n", "check its brackets"),
    ],
)
def test_a_grammar_that_cannot_be_used_says_why(tmp_path, text, message):
    path = tmp_path / "bad.jsgf"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        PocketsphinxRecognizer(path)


def test_names_tell_grammars_apart(tmp_path, grammar):
    other = tmp_path / "copy" / "digits.jsgf"
    other.parent.mkdir()
    other.write_text(grammar.read_text().replace("zero | ", ""))
    names = {PocketsphinxRecognizer(path).name for path in (None, grammar, other)}
    assert len(names) == 3
    assert all(name.startswith("pocketsphinx-") for name in names)


def test_a_model_name_is_refused():
    with pytest.raises(ConfigError, match="transformers"):
        load_recognizer("pocketsphinx", model="openai/whisper-tiny")


def test_revisions_and_languages_are_refused():
    with pytest.raises(ConfigError, match="no choice of revision; leave out 'v1'"):
        load_recognizer("pocketsphinx", revision="v1")
    with pytest.raises(ConfigError, match="no choice of language; leave out 'zh'"):
        load_recognizer("pocketsphinx", language="zh")


def test_the_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    monkeypatch.delitem(sys.modules, "slmtk.asr.pocketsphinx")
    with pytest.raises(MissingDependencyError, match=r"pip install 'slmtk\[embedded\]'"):
        load_recognizer("pocketsphinx")

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk.asr.pocketsphinx import PocketsphinxRecognizer
from slmtk.errors import ConfigError, SlmtkError
from slmtk.speakers.resemblyzer import ResemblyzerEncoder
from slmtk.synthesis import espeak
from slmtk.synthesis.espeak import ROLE_VOICES, VOICES, Voice, parse_voice, speak
from slmtk.synthesis.grammar import SENTENCES

SENTENCE = "two red horses swim outside"


def pitch(wav: torch.Tensor) -> float:
    """Median over 64 ms frames of the strongest lag of the autocorrelation between 60 and 350 Hz, in Hz."""
    found = []
    for frame in wav.numpy()[: len(wav) // 1024 * 1024].reshape(-1, 1024):
        correlation = np.correlate(frame, frame, "full")[1023:]
        lag = int(correlation[45:267].argmax()) + 45
        if correlation[0] > 1 and correlation[lag] > 0.6 * correlation[0]:
            found.append(16_000 / lag)
    return float(np.median(found))


def test_an_utterance_does_not_depend_on_what_was_spoken_before():
    for voice in VOICES.values():
        first = speak(SENTENCE, voice)
        speak("something else entirely, spoken faster", Voice("other", "en-us+m2", pitch=80, speed=220))
        assert torch.equal(first, speak(SENTENCE, voice)), voice


def test_speech_comes_at_16_khz_with_the_pitch_of_its_voice():
    # At a wrong rate (22,050 Hz taken for 16,000) a pitch of 198 Hz would be heard as 144 Hz.
    assert pitch(speak(SENTENCE, VOICES["ada"])) == pytest.approx(198, abs=12)
    assert pitch(speak(SENTENCE, VOICES["edward"])) == pytest.approx(86, abs=8)


def test_every_role_is_told_from_the_others_by_the_speaker_encoder_and_understood(tmp_path: Path):
    (tmp_path / "g.jsgf").write_text(SENTENCES.jsgf())
    recognizer = PocketsphinxRecognizer.create(grammar=tmp_path / "g.jsgf")
    encoder = ResemblyzerEncoder.create()
    one, two = SENTENCES.sample(2, seed=11)
    assert len(ROLE_VOICES) == 8
    spoken = [(speak(one, VOICES[name]), speak(two, VOICES[name])) for name in ROLE_VOICES]
    first, second = (torch.stack([encoder.embed(wavs[i]) for wavs in spoken]) for i in (0, 1))
    assert (first @ second.T).argmax(1).tolist() == list(range(8))
    assert recognizer.transcribe([wavs[1] for wavs in spoken]) == [two] * 8


def test_another_seed_changes_the_noise_and_not_the_timing():
    one, two = speak(SENTENCE, VOICES["ada"], seed=1), speak(SENTENCE, VOICES["ada"], seed=2)
    assert one.shape == two.shape
    assert not torch.equal(one, two)


def test_faster_speech_is_shorter():
    slow, fast = (speak(SENTENCE, Voice("x", "en-us+f2", speed=speed)) for speed in (120, 240))
    assert len(fast) < 0.7 * len(slow)


def test_a_voice_may_be_one_of_espeaks_with_a_pitch():
    assert parse_voice("en-us+m3@40") == Voice("enusm340", "en-us+m3", pitch=40)
    assert parse_voice("ada") is VOICES["ada"]


@pytest.mark.parametrize("name", ["", "nobody", "en-us+f2@high", "ada@3"])
def test_an_unknown_voice_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigError, match="ada, edward, fay, henry"):
        parse_voice(name)


def test_a_voice_that_espeak_lacks_is_refused():
    with pytest.raises(ConfigError, match=r"no voice 'xx\+nobody'"):
        speak(SENTENCE, Voice("nobody", "xx+nobody"))
    assert len(speak(SENTENCE, VOICES["ada"]))  # and the next utterance is none the worse


def test_text_without_a_sound_is_refused():
    with pytest.raises(SlmtkError, match="no sound of ''"):
        speak("", VOICES["ada"])


def test_a_data_path_that_espeak_would_not_survive_is_refused(monkeypatch):
    monkeypatch.setattr("espeakng_loader.get_data_path", lambda: "/" + "x" * 200)
    espeak._paths.cache_clear()
    try:
        with pytest.raises(SlmtkError, match="201 bytes long and takes at most 150"):
            speak(SENTENCE, VOICES["ada"])
    finally:
        espeak._paths.cache_clear()


def test_a_library_that_somebody_else_uses_is_refused():
    path, data = espeak._paths()
    other = ctypes.CDLL(path)
    assert other.espeak_Initialize(2, 0, data, 0) == 22_050
    try:
        with pytest.raises(SlmtkError, match="another part of this process"):
            speak(SENTENCE, VOICES["ada"])
    finally:
        other.espeak_Terminate()
        espeak._unload(other)
    assert len(speak(SENTENCE, VOICES["ada"]))

"""Text -> audio by espeak-ng inside the process: the voices of the embedded corpus.

espeak-ng keeps state between utterances (noise generator, phases of its oscillators), and ``espeak_Terminate`` does not
clear it: the same sentence sounds different after another one. So the library is loaded afresh for each utterance
(under 1 ms) and its noise generator is seeded, and so is rand() of the C library, from which klatt voices take their
breath; then an utterance depends on its text, voice and seed alone.

Source of constants and signatures: espeak-ng 1.52, ``speak_lib.h`` and ``espeak_ng.h``.
"""

from __future__ import annotations

import _ctypes
import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from slmtk import audio
from slmtk.errors import ConfigError, MissingDependencyError, SlmtkError

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
"""Hz of what `speak` returns."""

_OUTPUT_SYNCHRONOUS = 2
_RATE, _PITCH = 1, 3
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
# The library keeps this path in a buffer of 160 bytes (N_PATH_HOME_DEF); with a longer one it ends the process.
_MAX_DATA_PATH = 150
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Attributes:
        name: the speaker's name in a corpus: letters and digits.
        espeak: espeak-ng's name of it, language and variant, for example "en-us+f2".
        pitch: 0 to 99; 50 is the variant's own.
        speed: words per minute, 80 to 450.
    """

    name: str
    espeak: str
    pitch: int = 50
    speed: int = 170

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: the name, pitch or speed cannot be used.
        """
        if not re.fullmatch(r"[A-Za-z0-9]+", self.name):
            raise ConfigError(f"voice name {self.name!r}: expected letters and digits")
        if not (0 <= self.pitch <= 99 and 80 <= self.speed <= 450):
            raise ConfigError(f"voice {self.name!r}: pitch {self.pitch} and speed {self.speed}; have 0-99 and 80-450")


# Chosen by measurement among 75 variants of espeak-ng 1.52, at several pitches: the recogniser understands them (word
# error rate 0.2 % on 1,600 sentences under the closed grammar; of "en-us" alone every third word is misheard), and
# resemblyzer tells them apart (mean similarity of a sentence to its own voice 0.89-0.94, to others 0.51-0.71).
_SAMPLE = (
    Voice("ada", "en-us+f2"),  # 198 Hz
    Voice("edward", "en-us+edward", pitch=30),  # 86 Hz
    Voice("fay", "en-us+f3", pitch=60),  # 235 Hz
    Voice("henry", "en-us+Henrique", pitch=65),  # 125 Hz
)
# Chosen in the same way, from all 104 variants at pitches 30, 50 and 70. Of the eight roles the recogniser mishears one
# word of 1,600 (40 sentences each) and 39 of 824 single answers under their grammar; their mean similarity to their own
# clip is 0.89-0.93, to others 0.46-0.83, and all 160 sentences are nearest to their own clip.
_MORE = (
    Voice("flora", "en-us+f5", pitch=70),  # 254 Hz
    Voice("benjamin", "en-us+benjamin", pitch=30),  # 87 Hz
    Voice("kay", "en-us+klatt2", pitch=70),  # 125 Hz
    Voice("kurt", "en-us+klatt3", pitch=70),  # 125 Hz
    Voice("reed", "en-us+Reed", pitch=70),  # 142 Hz
)
VOICES = {voice.name: voice for voice in (*_SAMPLE, *_MORE)}
SAMPLE_VOICES = tuple(voice.name for voice in _SAMPLE)
"""The four of the quickstart."""
ROLE_VOICES = ("ada", "edward", "henry", *(voice.name for voice in _MORE))
"""The eight roles."""


def parse_voice(text: str) -> Voice:
    """Return one of `VOICES` by its name, or a voice of espeak-ng's written "en-us+m3" or "en-us+m3@40" (pitch).

    Raises:
        ConfigError: neither.
    """
    if text in VOICES:
        return VOICES[text]
    match = re.fullmatch(r"([\w+-]+)(?:@(\d+))?", text)
    if match is None or ("+" not in text and "-" not in text):
        raise ConfigError(
            f"no voice {text!r}; expected one of {', '.join(VOICES)}, or espeak-ng's name as in en-us+m3 or en-us+m3@40"
        )
    return Voice(re.sub(r"[^A-Za-z0-9]", "", text), match[1], pitch=int(match[2] or 50))


def speak(text: str, voice: Voice, *, seed: int = 0) -> Tensor:
    """Speak ``text``.

    Args:
        text: words of the voice's language, not empty.
        voice: who speaks.
        seed: of the noise in breath and fricatives.

    Returns:
        float32 [S] in [-1, 1] at 16 kHz; the same for the same arguments, whatever was spoken before.

    Raises:
        ConfigError: espeak-ng has no such voice.
        MissingDependencyError: espeakng-loader is not installed.
        SlmtkError: espeak-ng cannot run, or makes no sound of ``text``.
    """
    import numpy as np
    import torch

    with loaded() as library:
        rate = library.espeak_ng_GetSampleRate()
        samples = _run(library, text, voice, seed)
    if not samples.strip(b"\0"):
        raise SlmtkError(f"espeak-ng made no sound of {text!r}")
    wav = torch.from_numpy(np.frombuffer(samples, dtype=np.int16).astype(np.float32) / 32768)
    return audio.resample(wav, rate, SAMPLE_RATE).clamp(-1, 1)


def version() -> str:
    """espeak-ng's own version, for example "1.52.0".

    Raises:
        MissingDependencyError: espeakng-loader is not installed.
    """
    with _LOCK:
        library = ctypes.CDLL(_paths()[0])
        library.espeak_Info.restype = ctypes.c_char_p
        text: bytes = library.espeak_Info(None)
        _unload(library)
    return text.decode()


@lru_cache(maxsize=1)
def _paths() -> tuple[str, bytes]:
    try:
        import espeakng_loader
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "synthetic voices and phonemes need the package espeakng-loader, which is not installed: pip install "
            "'slmtk[embedded]'"
        ) from error
    data = str(espeakng_loader.get_data_path()).encode()
    if len(data) > _MAX_DATA_PATH:
        raise SlmtkError(
            f"espeak-ng lies in a folder whose path is {len(data)} bytes long and takes at most {_MAX_DATA_PATH}: "
            f"put the virtual environment in a folder with a shorter name ({data.decode()})"
        )
    return str(espeakng_loader.get_library_path()), data


@contextmanager
def loaded() -> Iterator[Any]:
    """espeak-ng, freshly loaded and started, and unloaded again behind; one at a time in a process.

    Raises:
        MissingDependencyError: espeakng-loader is not installed.
        SlmtkError: it cannot run, or another part of the process uses it.
    """
    with _LOCK:
        library_path, data_path = _paths()
        library = ctypes.CDLL(library_path)
        try:
            if library.espeak_ng_GetSampleRate():
                raise SlmtkError("another part of this process uses espeak-ng, whose state would change what is spoken")
            if library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data_path, 0) <= 0:
                raise SlmtkError(f"espeak-ng does not start with its data in {data_path.decode()}")
            yield library
            library.espeak_Terminate()
        finally:
            _unload(library)


def _run(library: Any, text: str, voice: Voice, seed: int) -> bytes:
    blocks: list[bytes] = []

    def keep(wav: Any, count: int, events: Any) -> int:
        if wav and count > 0:
            blocks.append(ctypes.string_at(wav, count * 2))
        return 0

    callback = _CALLBACK(keep)  # named: it must outlive the call of espeak_Synth
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(ctypes.c_long(seed + 1))  # 0 would leave the generator at its start value
    if hasattr(library, "srand"):  # found among what the library links to; not so on Windows
        library.srand(ctypes.c_uint(seed + 1))
    if library.espeak_SetVoiceByName(voice.espeak.encode()):
        raise ConfigError(f"espeak-ng has no voice {voice.espeak!r}")
    library.espeak_SetParameter(_RATE, voice.speed, 0)
    library.espeak_SetParameter(_PITCH, voice.pitch, 0)
    content = text.encode() + b"\0"
    size = ctypes.c_size_t(len(content))
    if library.espeak_Synth(content, size, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None):
        raise SlmtkError(f"espeak-ng cannot speak {text!r}")
    return b"".join(blocks)


def _unload(library: Any) -> None:
    close = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary  # type: ignore[attr-defined,unused-ignore]
    close(library._handle)

"""Transcripts that are kept, by sound and recogniser: what was recognised once is not recognised again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk.asr.base import Recognizer
from slmtk.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

# Where nobody set logging up, Python writes a warning to stderr as it is: one line.
_log = logging.getLogger(__name__)
# Utterances between two writes: this many are recognised again after a crash.
_SAVE_EVERY = 64


class CachedRecognizer(Recognizer):
    """A recogniser that looks first whether it has heard the same samples before.

    Transcripts lie in one file of lines per recogniser; several processes may read and extend it at a time. A line is
    added whole or not at all, a damaged one is left out and its utterance is recognised again.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        folder: Path,
        *,
        message: Callable[[str], object] = _log.warning,
    ) -> None:
        """Wrap ``recognizer``; nothing is read or written before the first utterance.

        Args:
            recognizer: what recognises the utterances that are not known yet.
            folder: of the kept transcripts; made when it is missing.
            message: is given one line when the file is damaged or cannot be written; recognition goes on.
        """
        self._recognizer = recognizer
        self.name = recognizer.name
        self.sample_rate = recognizer.sample_rate
        self.rules = recognizer.rules
        self.path = folder / _file_name(recognizer)
        self.hits = 0
        """Utterances whose transcript was there, or that came twice in one call."""
        self.misses = 0
        """Utterances that had to be recognised."""
        self._message = message
        self._texts: dict[str, str] = {}
        self._read_bytes = 0
        self._complained: set[str] = set()

    @classmethod
    def create(cls, *, model: str | None = None, grammar: Path | None = None, device: str = "cpu") -> CachedRecognizer:
        """Refuse: a cache holds what another recogniser heard and cannot be chosen by name.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("a cache of transcripts is no recogniser; wrap one: CachedRecognizer(recognizer, folder)")

    @property
    def workers(self) -> int:
        """Processes of the recogniser inside."""
        return self._recognizer.workers

    @workers.setter
    def workers(self, count: int) -> None:
        self._recognizer.workers = count

    def transcribe(self, wavs: Sequence[Tensor]) -> list[str]:
        """Return one text per utterance, the same as the recogniser inside gives.

        Args:
            wavs: float32 [S] each, in [-1, 1], at ``sample_rate``; lengths may differ, S may be 0.

        Returns:
            as many texts, in the same order.

        Raises:
            AudioError: what the recogniser inside raises; texts that were kept before remain.
        """
        self._read_news()
        keys = [_key(wav) for wav in wavs]
        unknown = {key: wav for key, wav in zip(keys, wavs, strict=True) if key not in self._texts}
        # By length, so that the recogniser's batches waste as little on padding as if it had all at a time.
        waiting = sorted(unknown, key=lambda key: (len(unknown[key]), key))
        for start in range(0, len(waiting), _SAVE_EVERY):
            part = waiting[start : start + _SAVE_EVERY]
            heard = self._recognizer.transcribe([unknown[key] for key in part])
            self._keep(dict(zip(part, heard, strict=True)))
        self.misses += len(waiting)
        self.hits += len(keys) - len(waiting)
        return [self._texts[key] for key in keys]

    def _read_news(self) -> None:
        """Take in what this or another process has added since the last look."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read_bytes:  # somebody began it anew
                    self._read_bytes = 0
                file.seek(self._read_bytes)
                news = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            self._complain("read", f"{self.path} cannot be read ({error.strerror}); recognising everything anew")
            return
        whole = news.rfind(b"\n") + 1  # behind it, another process may be writing just now
        self._read_bytes += whole
        damaged = 0
        for line in news[:whole].split(b"\n"):
            if line:
                entry = _parse(line)
                damaged += entry is None
                self._texts.update([entry] if entry else [])
        if damaged:
            self._complain("damage", f"{self.path} has {damaged} damaged lines; what they held is recognised again")

    def _keep(self, texts: dict[str, str]) -> None:
        self._texts.update(texts)
        # A line that a crash or a full disk cut off is ended by the first of these; an empty line says nothing.
        data = b"\n" + b"".join(_format(key, text) for key, text in texts.items())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                # One call: the system puts appended blocks behind each other, whoever else is writing.
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._complain("write", f"{self.path} cannot be written ({error.strerror}); transcripts are not kept")

    def _complain(self, about: str, line: str) -> None:
        if about not in self._complained:
            self._complained.add(about)
            self._message(line)


def default_cache_folder() -> Path:
    """Return where transcripts are kept unless said otherwise: below XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "slmtk" / "transcripts"


def _file_name(recognizer: Recognizer) -> str:
    """Return a name that people can read and that differs between any two recognisers."""
    readable = re.sub(r"[^\w.-]+", "-", recognizer.name)[:80].strip("-.")
    digest = hashlib.sha256(f"{recognizer.name}\n{recognizer.rules}".encode()).hexdigest()[:12]
    return f"{readable}-{digest}.jsonl"


def _key(wav: Tensor) -> str:
    """Return the SHA-256 of the samples, as 64 hex digits."""
    samples = wav.detach().cpu().contiguous().numpy().astype("<f4", copy=False)
    return hashlib.sha256(samples.data).hexdigest()


def _format(key: str, text: str) -> bytes:
    return json.dumps({"sound": key, "text": text, "check": _check(key, text)}).encode() + b"\n"


def _parse(line: bytes) -> tuple[str, str] | None:
    """Return sound and text of a line; None if it is not as it was written."""
    try:
        entry = json.loads(line)
        key, text, check = entry["sound"], entry["text"], entry["check"]
    except (ValueError, TypeError, KeyError):
        return None
    return (key, text) if check == _check(key, text) else None


def _check(key: object, text: object) -> int:
    """Return a checksum that a line damaged within its text does not have."""
    return zlib.crc32(json.dumps([key, text]).encode())

"""The embedded recogniser, offline: speech -> words with PocketSphinx and the models that its wheel carries."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pocketsphinx import Decoder, get_model_path

from slmtk.asr.base import Recognizer
from slmtk.asr.pieces import audible_samples
from slmtk.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Speech is scaled to this peak, so that loudness neither clips nor drowns in the steps of 16 bits.
_PEAK = 0.5
# Digital silence before and after: words cut tightly need it (FSDD digits: 28 % wrong without, 22 % with; no more with
# longer silence, which the cepstral mean leaves out).
_SILENT_SAMPLES = 1600
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
# What a rule holds beside words: {tags}, <references>, /weights/, the word "public" and names of rules.
_NO_WORDS = re.compile(r"\{[^}]*\}|<[^>]*>|/[-+.\deE\s]+/|\bpublic\b")
_WORD = re.compile(r"[^\s|*+()\[\]=;]+")


class PocketsphinxRecognizer(Recognizer):
    """PocketSphinx with its US English model: trigram language model, or a closed grammar.

    Every utterance gets a decoder of its own. A decoder that is used again hears a few utterances otherwise, since
    the Gaussians chosen for the last frame of one utterance are where the search starts in the next.
    """

    def __init__(self, grammar: Path | None = None, workers: int = 1) -> None:
        """Check the grammar; ``workers`` processes recognise that many utterances at a time."""
        self.workers = workers
        self.name = f"pocketsphinx-{version('pocketsphinx')} en-us"
        self._settings: dict[str, Any] = {"loglevel": "FATAL", "cmn": "batch"}
        self._pool: ProcessPoolExecutor | None = None
        if grammar is not None:
            digest = hashlib.sha256(grammar.read_bytes()).hexdigest()[:12]
            self.name += f" grammar {grammar.name} {digest}"
            self._folder = tempfile.TemporaryDirectory(prefix="slmtk-grammar-")
            self._settings |= _grammar_settings(grammar, Path(self._folder.name))

    @classmethod
    def create(
        cls, *, model: str | None = None, grammar: Path | None = None, device: str = "cpu", workers: int = 1
    ) -> PocketsphinxRecognizer:
        """Load it; ``grammar`` is a JSGF file that closes the vocabulary, the device is always the CPU.

        Raises:
            ConfigError: a ``model`` is named, or there is no worker.
            FormatError: the grammar cannot be read, or holds words that the dictionary lacks.
        """
        if model is not None:
            raise ConfigError(
                f"pocketsphinx has its own model and no use for {model!r}; for a Hugging Face model take "
                "the recognizer 'transformers'"
            )
        if workers < 1:
            raise ConfigError(f"{workers} workers; at least one is needed")
        if grammar is not None and not grammar.is_file():
            raise FormatError(f"no grammar at {grammar}")
        return cls(grammar, workers)

    def transcribe(self, wavs: Sequence[Tensor]) -> list[str]:
        """Return one text per utterance, lower case as the dictionary has it, numbers spelled out.

        Args:
            wavs: float32 [S] each, in [-1, 1], at 16 kHz; scaled to one loudness before they are recognised.

        Returns:
            as many texts, in the same order whatever the number of workers; "" for silence.

        Raises:
            AudioError: kind "nan": a sample is NaN or infinite.
        """
        recordings = [_to_pcm(audible_samples(wav)) for wav in wavs]
        if min(self.workers, len(recordings)) <= 1:
            return [_recognize(self._settings, pcm) for pcm in recordings]
        settings = [self._settings] * len(recordings)
        return list(self._processes().map(_recognize, settings, recordings))

    def _processes(self) -> ProcessPoolExecutor:
        """Return the worker processes, started once; spawned, since a fork copies locks that torch's threads hold."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))
            weakref.finalize(self, self._pool.shutdown, wait=False)
        return self._pool


def _to_pcm(samples: NDArray[np.float32]) -> bytes:
    """Return 16-bit samples of one loudness; nothing for silence."""
    if not len(samples):
        return b""
    scaled = np.rint(samples * (_PEAK / float(np.abs(samples).max()) * 32767)).astype("<i2")
    return np.pad(scaled, _SILENT_SAMPLES).tobytes()


def _recognize(settings: Mapping[str, Any], pcm: bytes) -> str:
    if not pcm:
        return ""
    decoder = Decoder(**settings)
    decoder.start_utt()
    decoder.process_raw(pcm, no_search=False, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return str(hypothesis.hypstr).strip() if hypothesis and hypothesis.hypstr else ""


def _grammar_settings(grammar: Path, folder: Path) -> dict[str, Any]:
    """Check ``grammar`` and put a dictionary of its words alone into ``folder``: 5 ms to load instead of 200.

    Raises:
        FormatError: not JSGF, an import, a word without pronunciation, or rules that do not make a grammar.
    """
    words = grammar_words(grammar)
    entries = _pronunciations(words)
    missing = [word for word in words if word not in entries]
    if missing:
        shown = ", ".join(repr(word) for word in missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise FormatError(
            f"{grammar}: {len(missing)} words are not in the recogniser's dictionary: {shown}; "
            "spell them another way or leave them out"
        )
    dictionary = folder / "words.dict"
    dictionary.write_text("".join(line for word in words for line in entries[word]), encoding="utf-8")
    settings = {"jsgf": os.fspath(grammar.resolve()), "lm": None, "dict": str(dictionary)}
    try:
        Decoder(loglevel="FATAL", **settings)
    except RuntimeError as error:
        raise FormatError(
            f"{grammar}: not a grammar that PocketSphinx can use; check its brackets and semicolons"
        ) from error
    return settings


def grammar_words(grammar: Path) -> list[str]:
    """Return the words of a JSGF grammar, each once, sorted.

    Raises:
        FormatError: the file is not JSGF text, imports another, has no public rule or uses one that it does not define.
    """
    try:
        text = grammar.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{grammar}: not a JSGF grammar ({error})") from error
    if not text.lstrip("\ufeff \t\r\n").startswith("#JSGF"):
        raise FormatError(f"{grammar}: not a JSGF grammar; its first line must be '#JSGF V1.0;'")
    _, _, body = _COMMENT.sub(" ", text).partition(";")
    statements = [part.strip() for part in body.split(";")]
    if any(part.startswith("import") for part in statements):
        raise FormatError(f"{grammar}: imports another grammar, which is not supported; copy its rules")
    rules = [part for part in statements if part and not part.startswith("grammar ")]
    if not any(re.match(r"public\s*<", rule) for rule in rules):
        raise FormatError(f"{grammar}: no public rule; one must begin with 'public <name> ='")
    defined = {rule.partition("=")[0].removeprefix("public").strip() for rule in rules} | {"<NULL>", "<VOID>"}
    undefined = {name for rule in rules for name in re.findall(r"<[^>]*>", rule)} - defined
    if undefined:
        raise FormatError(f"{grammar}: uses rules that it does not define: {', '.join(sorted(undefined))}")
    return sorted({word for rule in rules for word in _WORD.findall(_NO_WORDS.sub(" ", rule))})


def _pronunciations(words: Iterable[str]) -> dict[str, list[str]]:
    """Return the dictionary's lines of each word, in the grammar's spelling; its own is lower case."""
    spellings: dict[str, list[str]] = {}
    for word in words:
        spellings.setdefault(word.lower(), []).append(word)
    entries: dict[str, list[str]] = {}
    path = Path(get_model_path()) / "en-us" / "cmudict-en-us.dict"
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, phones = line.partition(" ")
        base, paren, number = key.partition("(")
        for word in spellings.get(base, ()):
            entries.setdefault(word, []).append(f"{word}{paren}{number} {phones}\n")
    return entries

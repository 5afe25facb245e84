"""Published ways of scoring speech by recognising it: between transcripts and the one number that a paper prints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from slmtk.errors import ConfigError

AGGREGATIONS = ("corpus", "mean")
UNITS = ("word", "character")


@dataclass(frozen=True)
class Protocol:
    """Everything that decides which number comes out of the same speech.

    Attributes:
        name: what ``--protocol`` calls it.
        recognizer: name of the recogniser plug-in.
        recognizer_model: checkpoint that it loads, as the plug-in spells it; None where it has one of its own.
        recognizer_revision: commit of the checkpoint; None where none is known, so that what is current is loaded
            and the score has to record which that was.
        normalizer: of references and transcripts; a name that `slmtk.metrics.normalize.get_normalizer` knows.
        aggregation: which rate is *the* word error rate: "corpus" (errors over words of all utterances) or
            "mean" (mean of the utterances' rates).
        language: of the speech, two letters.
        unit: what the normaliser puts between blanks: "word", or "character" (the word error rate is then one of
            characters).
        prompt: what is done with the clip whose voice is imitated, in words.
        similarity: speaker encoder plug-in[:model]; None where the protocol's own is not among the plug-ins.
        source: where it is defined.

    Raises:
        ConfigError: ``aggregation`` or ``unit`` is something else.
    """

    name: str
    recognizer: str
    recognizer_model: str | None
    recognizer_revision: str | None
    normalizer: str
    aggregation: str
    language: str
    unit: str
    prompt: str
    similarity: str | None
    source: str

    def __post_init__(self) -> None:
        """Check what can be checked without loading anything."""
        for field, value, known in (("aggregation", self.aggregation, AGGREGATIONS), ("unit", self.unit, UNITS)):
            if value not in known:
                raise ConfigError(f"protocol {self.name!r}: {field} is {value!r}; expected {' or '.join(known)}")

    @property
    def digest(self) -> str:
        """12 hex digits of the SHA-256 of all fields as canonical JSON: it changes with any of them."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


# The sources load what is current and name no commit. These are the commits that public projects pin for the same
# checkpoints, so that a score stays what it is when a repository changes.
_WHISPER_LARGE_V3 = ("openai/whisper-large-v3", "06f233fe06e710322aca913c1bc4249a0d71fce1")
_FASTER_WHISPER_LARGE_V3 = ("Systran/faster-whisper-large-v3", "edaa852ec7e145841d8ffdb056a99866b5f0a478")
_HUBERT_LARGE = ("facebook/hubert-large-ls960-ft", "ece5fabbf034c1073acae96d5401b25be96709d8")

_SEED_TTS_PROMPT = "zero-shot: meta.lst names a clip of the voice and its text; the clip is not in the scored audio"

_ALL = (
    Protocol(
        name="seed-tts",
        recognizer="transformers",
        recognizer_model=_WHISPER_LARGE_V3[0],
        recognizer_revision=_WHISPER_LARGE_V3[1],
        normalizer="seed-tts",
        aggregation="mean",
        language="en",
        unit="word",
        prompt=_SEED_TTS_PROMPT,
        similarity=None,
        source="https://github.com/BytedanceSpeech/seed-tts-eval run_wer.py, average_wer.py (arXiv 2406.02430)",
    ),
    Protocol(
        name="seed-tts-zh",
        recognizer="funasr",
        recognizer_model="paraformer-zh",
        recognizer_revision=None,
        normalizer="seed-tts-zh",
        aggregation="mean",
        language="zh",
        unit="character",
        prompt=_SEED_TTS_PROMPT,
        similarity=None,
        source="https://github.com/BytedanceSpeech/seed-tts-eval run_wer.py, average_wer.py (arXiv 2406.02430)",
    ),
    Protocol(
        name="f5",
        recognizer="faster-whisper",
        recognizer_model=_FASTER_WHISPER_LARGE_V3[0],
        recognizer_revision=_FASTER_WHISPER_LARGE_V3[1],
        normalizer="f5",
        aggregation="mean",
        language="en",
        unit="word",
        prompt="cross-sentence: another recording of the speaker, about 3 s; it is not in the scored audio",
        similarity=None,
        source="https://github.com/SWivid/F5-TTS src/f5_tts/eval/utils_eval.py (arXiv 2410.06885)",
    ),
    Protocol(
        name="librispeech-hubert",
        recognizer="transformers",
        recognizer_model=_HUBERT_LARGE[0],
        recognizer_revision=_HUBERT_LARGE[1],
        normalizer="nemo-english",
        aggregation="corpus",
        language="en",
        unit="word",
        prompt="cross-sentence: at most 3 s of another recording of the speaker, which are not in the scored audio",
        similarity=None,
        source="https://github.com/keonlee9420/evaluate-zero-shot-tts (arXiv 2404.02781, 2406.11427)",
    ),
    Protocol(
        name="whisper-norm",
        recognizer="transformers",
        recognizer_model=_HUBERT_LARGE[0],
        recognizer_revision=_HUBERT_LARGE[1],
        normalizer="whisper-english",
        aggregation="corpus",
        language="en",
        unit="word",
        prompt="none: a codec's resynthesis of the recording itself",
        similarity=None,
        source="https://github.com/zhenye234/X-Codec-2.0 README.md and the author's answer there (arXiv 2502.04128)",
    ),
    Protocol(
        name="paper",
        recognizer="transformers",
        recognizer_model=_WHISPER_LARGE_V3[0],
        recognizer_revision=_WHISPER_LARGE_V3[1],
        normalizer="whisper-english",
        aggregation="corpus",
        language="en",
        unit="word",
        prompt="a recording of the speaker gives the speaker vector and the codec's timbre; not in the scored audio",
        similarity="wavlm:microsoft/wavlm-base-plus-sv",
        source="slmtk's reading of arXiv 2506.12537, whose authors released no evaluation: compares within slmtk only",
    ),
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({protocol.name: protocol for protocol in _ALL})


def get_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}; available: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

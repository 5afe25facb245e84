"""What is heard in speech beside its words: voices, naturalness, melody and signal -> numbers by name, for a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk import audio
from slmtk.errors import AudioError, ConfigError
from slmtk.metrics import naturalness
from slmtk.speakers.timbre import TimbreEncoder
from slmtk.stages.scoring import Pair
from slmtk.stages.signal_measures import FRAMES, SAMPLE_RATE, SIGNAL, check_packages, compare_signals
from slmtk.stages.speech_sources import ReadAudio
from slmtk.stages.through_codec import ThroughCodec
from slmtk.stages.voice_scores import VoiceScores

if TYPE_CHECKING:
    from torch import Tensor

Judge = Callable[["Tensor", int], dict[str, float]]

MEASURES: Mapping[str, str] = {
    "sim-o": "speaker similarity to the recording of the voice that was asked for",
    "sim-r": "speaker similarity to what a codec gives back of that recording; sim-r:CODEC names the codec",
    "timbre": "cosine of a codec's own speaker vectors; timbre:CODEC names the codec",
    "dnsmos": "naturalness without a reference, 1 to 5, by DNSMOS",
    "utmos": "naturalness without a reference, 1 to 5, by UTMOS; utmos:FILE reads a copy of its weights",
    "f0": "pitch against the recording of the same sentence: RMSE in Hz and cents, correlation, voicing error",
    "mcd": "mel-cepstral distortion in dB against the recording of the same sentence",
    "pesq": "wide-band PESQ of a resynthesis against its recording",
    "stoi": "STOI and ESTOI of a resynthesis against its recording",
}
"""Name -> what it says, one line each; docs/metrics.md says more."""

_NEED_A_CODEC = ("sim-r", "timbre")
_TAKE_AN_ARGUMENT = (*_NEED_A_CODEC, "utmos")


class SpeechMeasures:
    """Measures utterance after utterance; networks are loaded when the first utterance needs them."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        encoders: Sequence[str],
        device: str,
        originals: bool,
        codec: str | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Check the names, and that the packages and files are there that need no loading to be found.

        Args:
            names: of `MEASURES`; "sim-r:CODEC", "timbre:CODEC" and "utmos:FILE" name what they use.
            encoders: speaker encoders of sim-o and sim-r, each a plug-in's name or "NAME:MODEL".
            device: where models run.
            originals: the texts' source holds other recordings of the sentences than the speech's.
            codec: of "sim-r" and "timbre" that name none.
            checkpoint: weights of ``codec`` instead of the published ones.

        Raises:
            ConfigError: there is no such measure, it takes no argument, or one needs a codec or encoder that is not
                named.
            MissingDependencyError: a package that one needs is not installed.
            WeightsError: the weights of UTMOS are neither here nor can they be fetched.
        """
        wanted = [_Wanted.parse(name, codec, checkpoint) for name in dict.fromkeys(names)]
        self._originals = originals
        self._signals = [one.name for one in wanted if one.name in (*FRAMES, *SIGNAL)]
        check_packages(self._signals)
        self._alone: dict[str, Judge] = {}
        if any(one.name == "dnsmos" for one in wanted):
            naturalness.load()
            self._alone["dnsmos"] = _dnsmos
        for one in wanted:
            if one.name == "utmos":
                self._alone[f"utmos:{one.argument}"] = _utmos(one.argument, device)
        self._voices = _voices(wanted, encoders, device, originals)
        self._left_out: Counter[str] = Counter()

    @property
    def left_out(self) -> dict[str, int]:
        """What could not be judged so far: "MEASURE: reason" -> utterances."""
        total = self._left_out.copy()
        for voices in self._voices:
            total.update(voices.left_out)
        return dict(sorted(total.items()))

    def compare(self, pair: Pair, wav: Tensor, sample_rate: int) -> dict[str, float]:
        """Return what can be said of one utterance; what cannot be judged is left out, and counted in `left_out`.

        Args:
            pair: tells what to compare with.
            wav: float32 [S] in [-1, 1], the speech.
            sample_rate: of ``wav`` in Hz.

        Returns:
            Metric's name, with the encoder, codec or weights in it -> value.
        """
        original = _Recording(pair.meant.read) if self._originals and pair.meant.read else None
        found: dict[str, float] = {}
        for voices in self._voices:
            found |= voices.compare(pair, wav, sample_rate, original)
        for name, judge in self._alone.items():
            try:
                found |= judge(wav, sample_rate)
            except AudioError as error:
                self._left_out[f"{name.partition(':')[0]}: {error.kind}"] += 1
        if self._signals:
            found |= self._against(original, wav, sample_rate)
        return found

    def _against(self, original: _Recording | None, wav: Tensor, sample_rate: int) -> dict[str, float]:
        if original is None:
            self._left_out.update(f"{name}: no recording of the sentence" for name in self._signals)
            return {}
        try:
            recording = original(SAMPLE_RATE)
        except AudioError as error:
            self._left_out.update(f"{name}: recording {error.kind}" for name in self._signals)
            return {}
        speech = audio.resample(wav, sample_rate, SAMPLE_RATE)
        return compare_signals(self._signals, speech, recording, self._left_out)


@dataclass(frozen=True)
class _Wanted:
    """One measure that was asked for, and the codec or file it uses."""

    name: str
    argument: str = ""
    checkpoint: Path | None = None

    @classmethod
    def parse(cls, text: str, codec: str | None, checkpoint: Path | None) -> _Wanted:
        name, _, argument = text.partition(":")
        if name not in MEASURES:
            raise ConfigError(f"no measure {name!r}; expected one of {', '.join(MEASURES)}")
        if argument and name not in _TAKE_AN_ARGUMENT:
            raise ConfigError(f"measure {name!r} takes nothing after a colon; found {text!r}")
        if name not in _NEED_A_CODEC or argument:
            return cls(name, argument)
        if codec is None:
            raise ConfigError(f"measure {name!r} needs a codec; name it as {name}:CODEC, for example {name}:world")
        return cls(name, codec, checkpoint)


@dataclass
class _Recording:
    """Reads the recording of a sentence once for every rate that is asked for."""

    read: ReadAudio
    _read: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, sample_rate: int) -> Tensor:
        if sample_rate not in self._read:
            self._read[sample_rate] = self.read(sample_rate)
        return self._read[sample_rate]


def _voices(wanted: Sequence[_Wanted], encoders: Sequence[str], device: str, originals: bool) -> list[VoiceScores]:
    """One comparison for each encoder, and for each codec that is one."""
    measures: list[tuple[str, ThroughCodec | None]] = []
    for one in wanted:
        if one.name == "sim-o":
            measures.append((one.name, None))
        elif one.name == "sim-r":
            measures.append((one.name, ThroughCodec(one.argument, device=device, checkpoint=one.checkpoint)))
    if measures and not encoders:
        raise ConfigError(f"measure {measures[0][0]!r} needs a speaker encoder; name one, for example resemblyzer")
    found = []
    if measures:
        for encoder in dict.fromkeys(encoders):
            found.append(VoiceScores(encoder, device, originals=originals, measures=measures))
    for one in wanted:
        if one.name == "timbre":
            load = partial(TimbreEncoder.create, model=one.argument, device=device, checkpoint=one.checkpoint)
            found.append(VoiceScores("timbre", device, originals=originals, measures=[("timbre", None)], load=load))
    return found


def _dnsmos(wav: Tensor, sample_rate: int) -> dict[str, float]:
    opinion = naturalness.dnsmos(wav, sample_rate)
    return {
        "dnsmos ovrl": opinion.overall,
        "dnsmos sig": opinion.signal,
        "dnsmos bak": opinion.background,
        "dnsmos p808": opinion.p808,
    }


def _utmos(file: str, device: str) -> Judge:
    from slmtk.metrics.utmos import Utmos, find_weights

    weights = find_weights(Path(file) if file else None)
    loaded: list[Utmos] = []

    def judge(wav: Tensor, sample_rate: int) -> dict[str, float]:
        if not loaded:
            loaded.append(Utmos(weights, device))
        return {loaded[0].name: loaded[0](wav, sample_rate)}

    return judge

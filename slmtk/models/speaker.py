"""A model folder that speaks: text (or a question) and a reference voice -> codes -> audio."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmtk.codecs.base import Codec, load_codec_of
from slmtk.data.examples import prompt_steps
from slmtk.data.prompts import normalize_text, prefix, prefix_prompt
from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.models.decoding.batch import BatchGenerator, Generated, Request
from slmtk.models.quiet import no_bars
from slmtk.models.sampling import Sampling
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.voices import Clip, Voice, clips_of, codes_clips, codes_speaker, make_voice, record_clip
from slmtk.progress import Progress, SilentProgress
from slmtk.speakers.base import SpeakerEncoder, load_named_encoder
from slmtk.spec import CodecSpec

ANSWER_END = "The speech is:"
"""What the model writes between its answer's text and the speech (the templates' words)."""


__all__ = ["Said", "Speech", "Synthesizer", "Voice"]


@dataclass(frozen=True)
class Said:
    """One thing to say.

    Attributes:
        text: to read, or the question to answer.
        voice: to say it in.
        seed: of its random choices, None for the sampling's.
    """

    text: str
    voice: Voice
    seed: int | None = None


@dataclass
class Speech:
    """What the model said.

    Attributes:
        text: what it meant to say: the text it was given, or the answer it wrote.
        codes: int32 [K, T].
        wav: float32 [S].
        sample_rate: Hz.
        reason: "" for success, else "no_end", "loop", "too_long", "empty" or "no_speech".
        steps: of the model.
        seconds: of wall time from the beginning of its prompt to the end of its audio; in a batch the others' steps are
            in it.
        first_codes_seconds: until the first step of codes; the audio itself is decoded at the end.
    """

    text: str
    codes: NDArray[np.int32]
    wav: Tensor
    sample_rate: int
    reason: str
    steps: int
    seconds: float
    first_codes_seconds: float | None = None


class Synthesizer:
    """A trained model with its tokenizer and codec, ready to speak."""

    def __init__(
        self,
        model: SpeechLM,
        tokenizer: TextTokenizer,
        codec: Codec,
        tasks: Sequence[str],
        encoder: SpeakerEncoder | None = None,
    ) -> None:
        """Put the parts together; `load` does it from a folder. ``encoder`` is the model's, None for the codec."""
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.codec = codec
        self.tasks = tuple(tasks)
        self.encoder = encoder
        self._generators: dict[int, BatchGenerator] = {}

    @classmethod
    def load(cls, model: Path, *, device: str = "cpu", codec_checkpoint: Path | None = None) -> Synthesizer:
        """Load what ``slmtk train`` saved in the folder ``model``.

        Raises:
            FormatError: the folder holds no finished model.
            CodecMismatchError: the codec here is not the one the model was trained with.
            ConfigError: the speaker encoder here is not the one the model was trained with.
            WeightsError: the speaker encoder's weights are not here and cannot be fetched.
        """
        info_path = model / "slmtk.json"
        if not info_path.is_file():
            raise FormatError(f"{model} holds no slmtk.json; expected a folder written by `slmtk train`")
        info = json.loads(info_path.read_text(encoding="utf-8"))
        if info.get("kind") != "model" or not (model / "config.json").is_file():
            raise FormatError(f"{model} holds no finished model; run `slmtk train` on it again to finish it")
        spec = CodecSpec.from_dict(info["codec"])
        codec = load_codec_of(spec, device=device, checkpoint=codec_checkpoint)
        # An imported model may not know the digest of its codec's weights.
        known = spec if spec.weights_sha256 else dataclasses.replace(spec, weights_sha256=codec.spec.weights_sha256)
        differences = codec.spec.differences(known)
        if differences:
            raise CodecMismatchError(
                f"the codec here is not the model's ({'; '.join(differences)}); use the same weights"
            )
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        with no_bars():
            network = SpeechLM.from_pretrained(model, dtype=dtype).to(device)
        encoder = _encoder_of(network, info.get("speaker", {}).get("weights", ""), device)
        tokenizer = load_text_tokenizer(str(model / "tokenizer"))
        return cls(network, tokenizer, codec, info.get("tasks", ["tts"]), encoder)

    @property
    def spec(self) -> CodecSpec:
        """Of the model's codec."""
        return self.codec.spec

    @property
    def speaker_aware(self) -> bool:
        """Whether the reference's voice conditions the model, beyond the codec's timbre."""
        return self.model.speaker is not None

    @property
    def reference_prompt(self) -> bool:
        """Whether the model reads the reference's codes in its prompt."""
        return bool(self.model.config.reference_prompt)

    @property
    def needs_voice(self) -> bool:
        """Whether somebody, the model or the codec, has to know a voice to speak in."""
        return self.speaker_aware or self.reference_prompt or self.spec.speaker_dim > 0

    def voice(self, place: Path) -> Voice:
        """Make a voice of what ``place`` names.

        Args:
            place: a recording; a folder of recordings of one speaker, averaged (`slmtk.models.voices.make_voice`); or
                "CODES_FOLDER:SPEAKER_ID", a speaker of a folder of codes.

        Raises:
            AudioError: it is not there, or a recording cannot be used.
            FormatError: the folder of codes is damaged or unfinished, or no speaker of it is named.
            CodecMismatchError: the codes are of another codec.
            ConfigError: the folder of codes has no such speaker.
        """
        named = codes_speaker(place)
        if named is not None:
            clips: list[Clip] = codes_clips(*named, self.codec, self.encoder)
        else:
            clips = [record_clip(path, self.codec, self.encoder) for path in clips_of(place)]
        name = named[1] if named else place.stem if place.is_file() else place.resolve().name
        return make_voice(name, clips, with_codes=self.reference_prompt, codec=self.codec)

    def speak(
        self,
        texts: Sequence[str],
        voices: Sequence[Voice],
        sampling: Sampling,
        progress: Progress | None = None,
        *,
        batch_size: int = 1,
    ) -> list[Speech]:
        """Speak each text in the voice beside it, ``batch_size`` at a time; what is said does not depend on that.

        Raises:
            ConfigError: the model was not trained to read text, or there are not as many voices as texts.
        """
        return self._all("tts", texts, voices, sampling, progress, batch_size)

    def answer(
        self,
        questions: Sequence[str],
        voices: Sequence[Voice],
        sampling: Sampling,
        progress: Progress | None = None,
        *,
        batch_size: int = 1,
    ) -> list[Speech]:
        """Answer each question in the voice beside it: the model writes an answer, then speaks it.

        Raises:
            ConfigError: the model was not trained to answer, or there are not as many voices as questions.
        """
        return self._all("qa", questions, voices, sampling, progress, batch_size)

    def each(
        self, task: str, said: Sequence[Said], sampling: Sampling, *, batch_size: int = 1
    ) -> Iterator[tuple[int, Speech]]:
        """Say everything, ``batch_size`` at a time, and yield place and speech of each as it is finished.

        Args:
            task: "tts" or "qa".
            said: what, in which voice.
            sampling: how codes are chosen.
            batch_size: what is said does not depend on it.

        Raises:
            ConfigError: the model was not trained for ``task``, or needs a voice.
        """
        requests = [self.request(task, one.text, one.voice, sampling, one.seed) for one in said]
        for place, generated in self._generator(batch_size).run(requests):
            started = time.perf_counter()
            voice = said[place].voice
            wav = self._decode(generated, voice)
            yield (
                place,
                Speech(
                    text=normalize_text(said[place].text) if task == "tts" else self._answer_text(generated),
                    codes=_codes(generated, self.spec.num_codebooks).numpy().astype(np.int32),
                    wav=wav,
                    sample_rate=self.spec.sample_rate,
                    reason=generated.reason,
                    steps=generated.steps,
                    seconds=generated.seconds + time.perf_counter() - started,
                    first_codes_seconds=generated.first_step_seconds,
                ),
            )

    def request(self, task: str, text: str, voice: Voice, sampling: Sampling, seed: int | None = None) -> Request:
        """Return what the generator is asked for one text.

        Raises:
            ConfigError: the model was not trained for ``task``, or needs a voice.
        """
        if task not in self.tasks:
            raise ConfigError(
                f"this model was trained for {', '.join(self.tasks)} and not for {task!r}"
                + ("; build its dataset with --questions" if task == "qa" else "")
            )
        ids, placeholder = self._prefix(task, text, voice)
        vector = voice.speaker if self.encoder is None else voice.embedding
        if placeholder is not None and vector is None:
            raise ConfigError("this model speaks in the voice of a reference; give --speaker REF.wav")
        return Request(
            prefix=ids,
            placeholder=placeholder,
            speaker=vector,
            sampling=sampling,
            seed=_seed(sampling.seed if seed is None else seed, task, text, voice.id),
            task=task,
            # How long an answer is, nobody knows before it is written.
            text_length=len(normalize_text(text)) if task == "tts" else 0,
        )

    def _all(
        self,
        task: str,
        texts: Sequence[str],
        voices: Sequence[Voice],
        sampling: Sampling,
        progress: Progress | None,
        batch_size: int,
    ) -> list[Speech]:
        if len(texts) != len(voices):
            raise ConfigError(f"{len(texts)} texts and {len(voices)} voices; each text needs its voice")
        said = [Said(text, voice) for text, voice in zip(texts, voices, strict=True)]
        found: dict[int, Speech] = {}
        with (progress or SilentProgress()).task("synth" if task == "tts" else "answer", len(texts)) as bar:
            for place, speech in self.each(task, said, sampling, batch_size=batch_size):
                found[place] = speech
                bar.advance(1)
        return [found[place] for place in range(len(texts))]

    def _generator(self, batch_size: int) -> BatchGenerator:
        # Kept, since it lays the model's weights out anew.
        if batch_size not in self._generators:
            self._generators.clear()
            self._generators[batch_size] = BatchGenerator(self.model, batch_size=batch_size)
        return self._generators[batch_size]

    def _prefix(self, task: str, text: str, voice: Voice) -> tuple[list[int] | Tensor, int | None]:
        vocabulary = self.model.vocabulary
        if not self.reference_prompt:
            return prefix(task, text, self.tokenizer, vocabulary, self.speaker_aware)
        if voice.codes is None:
            raise ConfigError("this model speaks in the voice of a reference; give --speaker REF.wav")
        prompt = prefix_prompt(task, text, self.tokenizer, vocabulary, reference_prompt=True)
        return prompt_steps(prompt, vocabulary, self.model.layout, reference=voice.codes), None

    def _decode(self, generated: Generated, voice: Voice) -> Tensor:
        codes = _codes(generated, self.spec.num_codebooks)
        if not codes.shape[1]:
            return torch.zeros(0)
        speaker = None if voice.speaker is None else voice.speaker[None]
        return self.codec.decode(codes[None], speaker)[0].float().cpu()

    def _answer_text(self, generated: Generated) -> str:
        return self.tokenizer.decode(generated.text_ids).strip().removesuffix(ANSWER_END).strip()


def _encoder_of(model: SpeechLM, weights: str, device: str) -> SpeakerEncoder | None:
    """The encoder of the vectors that ``model`` was trained with; None for the codec's, or none."""
    name = model.config.speaker_encoder
    if name in ("", "codec"):
        return None
    encoder = load_named_encoder(name, device=device)
    if encoder.dim != model.config.speaker_dim or (weights and weights != encoder.name):
        raise ConfigError(
            f"the speaker encoder here is {encoder.name} of {encoder.dim} values; the model was trained with "
            f"{weights or name} of {model.config.speaker_dim}"
        )
    return encoder


def _codes(generated: Generated, num_codebooks: int) -> Tensor:
    if generated.codes is None:
        return torch.zeros(num_codebooks, 0, dtype=torch.int64)
    return generated.codes.cpu()


def _seed(*parts: object) -> int:
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:7], "big")

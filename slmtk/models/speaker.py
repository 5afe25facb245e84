"""A model folder that speaks: text (or a question) and a reference voice -> codes -> audio."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slmtk.codecs.base import Codec, load_codec_of
from slmtk.data.prompts import normalize_text
from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.models.asking import NO_VOICE, check_task, question_codes, seed_of, start_of
from slmtk.models.decoding.batch import BatchGenerator, Generated, Request
from slmtk.models.decoding.mean import average_of
from slmtk.models.loading import load_model
from slmtk.models.own_voices import OwnVoices, own_name, read_voices
from slmtk.models.released_files import read_object
from slmtk.models.said import Ask, Said, Speech
from slmtk.models.sampling import Sampling
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.voices import Clip, Voice, clips_of, codes_clips, codes_speaker, make_voice, record_clip
from slmtk.progress import Progress, SilentProgress
from slmtk.speakers.base import SpeakerEncoder, load_named_encoder
from slmtk.spec import CodecSpec

ANSWER_END = "The speech is:"
"""What the model writes between its answer's text and the speech (the templates' words)."""


__all__ = ["Ask", "Said", "Speech", "Synthesizer", "Voice"]


class Synthesizer:
    """A trained model with its tokenizer and codec, ready to speak."""

    def __init__(
        self,
        model: SpeechLM,
        tokenizer: TextTokenizer,
        codec: Codec,
        tasks: Sequence[str],
        encoder: SpeakerEncoder | None = None,
        own_voices: OwnVoices | None = None,
        own_sampling: Mapping[str, Any] | None = None,
    ) -> None:
        """Put the parts together; `load` does it from a folder.

        Args:
            model: trained.
            tokenizer: the model's.
            codec: the model's.
            tasks: that it was trained for.
            encoder: of the voices that condition it; None for the codec.
            own_voices: that it carries.
            own_sampling: "choose" and "temperature" with which it speaks best, where nobody asks for others.
        """
        self.own_voices = own_voices or OwnVoices()
        self.own_sampling = dict(own_sampling or {})
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.codec = codec
        self.tasks = tuple(tasks)
        self.encoder = encoder
        self._generators: dict[int, BatchGenerator] = {}

    @classmethod
    def load(cls, model: Path, *, device: str = "cpu", codec_checkpoint: Path | None = None) -> Synthesizer:
        """Load what ``slmtk train``, or ``python -m slmtk.models.packed``, saved in the folder ``model``.

        Raises:
            FormatError: the folder holds no finished model, or a damaged one.
            CodecMismatchError: the codec here is not the one the model was trained with.
            ConfigError: the speaker encoder here is not the one the model was trained with.
            WeightsError: the speaker encoder's weights are not here and cannot be fetched.
        """
        info_path = model / "slmtk.json"
        if not info_path.is_file():
            raise FormatError(f"{model} holds no slmtk.json; expected a folder written by `slmtk train`")
        info = read_object(info_path)
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
        network = load_model(model, dtype=dtype).to(device)
        encoder = _encoder_of(network, info.get("speaker", {}).get("weights", ""), device)
        tokenizer = load_text_tokenizer(str(model / "tokenizer"))
        tasks, own = info.get("tasks", ["tts"]), info.get("sampling")
        return cls(network, tokenizer, codec, tasks, encoder, read_voices(model), own)

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
                "CODES_FOLDER:SPEAKER_ID", a speaker of a folder of codes; or ":NAME", a voice that the model carries.

        Raises:
            AudioError: it is not there, or a recording cannot be used.
            FormatError: the folder of codes is damaged or unfinished, or no speaker of it is named.
            CodecMismatchError: the codes are of another codec.
            ConfigError: the folder of codes has no such speaker, or the model no such voice.
        """
        own = own_name(place)
        if own is not None:
            return self.own_voices.get(own)
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
        said = [Said(text, voice) for text, voice in _pairs(texts, voices)]
        spoken = self.each("tts", said, sampling, batch_size=batch_size)
        return _in_order(spoken, len(said), "synth", progress)

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

        `answer_each` does the same for spoken questions and for answers in speech alone.

        Raises:
            ConfigError: the model was not trained to answer, or there are not as many voices as questions.
        """
        asks = [Ask(question, voice) for question, voice in _pairs(questions, voices)]
        answers = self.answer_each(asks, sampling, batch_size=batch_size)
        return _in_order(answers, len(asks), "answer", progress)

    def answer_each(
        self, asks: Sequence[Ask], sampling: Sampling, *, batch_size: int = 8
    ) -> Iterator[tuple[int, Speech]]:
        """Answer everything, ``batch_size`` at a time, and yield place and answer of each as it is finished.

        Asks of different tasks (written and spoken questions, both forms of answers) may stand side by side.

        Args:
            asks: questions, each with its voice and form.
            sampling: how codes are chosen; text is always the model's best.
            batch_size: what is answered does not depend on it.

        Raises:
            ConfigError: the model was not trained for one of the tasks, or needs a voice.
            FormatError: a question's codes are not of the model's codec.
        """
        requests = [self._question(ask, sampling) for ask in asks]
        for place, generated in self._generator(batch_size).run(requests):
            yield place, self._speech(generated, asks[place].voice, self._answer_text(generated))

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
        if task == "qa":
            yield from self.answer_each(
                [Ask(one.text, one.voice, seed=one.seed) for one in said], sampling, batch_size=batch_size
            )
            return
        requests = [self.request(task, one.text, one.voice, sampling, one.seed) for one in said]
        for place, generated in self._generator(batch_size).run(requests):
            yield place, self._speech(generated, said[place].voice, normalize_text(said[place].text))

    def request(self, task: str, text: str, voice: Voice, sampling: Sampling, seed: int | None = None) -> Request:
        """Return what the generator is asked for one text.

        Raises:
            ConfigError: the model was not trained for ``task``, or needs a voice.
        """
        seed = seed_of(sampling.seed if seed is None else seed, task, text, voice.id)
        request = self._request(task, text, voice, sampling, seed)
        # How long an answer is, nobody knows before it is written.
        return dataclasses.replace(request, text_length=len(normalize_text(text))) if task == "tts" else request

    def _question(self, ask: Ask, sampling: Sampling) -> Request:
        heard = None if ask.question_codes is None else question_codes(ask.question_codes, self.spec)
        text = "" if heard is not None or ask.question is None else ask.question
        seed = sampling.seed if ask.seed is None else ask.seed
        seed = seed_of(seed, ask.task, text if heard is None else heard, ask.voice.id)
        return self._request(ask.task, text, ask.voice, sampling, seed, heard)

    def _request(
        self, task: str, text: str, voice: Voice, sampling: Sampling, seed: int, question: Tensor | None = None
    ) -> Request:
        check_task(task, self.tasks)
        ids, placeholder = start_of(self.model, self.tokenizer, task, text, voice, question)
        vector = voice.speaker if self.encoder is None else voice.embedding
        if placeholder is not None and vector is None:
            raise ConfigError(NO_VOICE)
        speaker = vector if placeholder is not None else None
        return Request(ids, placeholder, speaker, sampling.or_own(self.own_sampling), seed, task=task)

    def _generator(self, batch_size: int) -> BatchGenerator:
        # Kept, since it lays the model's weights out anew.
        if batch_size not in self._generators:
            self._generators.clear()
            average = average_of(self.codec)
            self._generators[batch_size] = BatchGenerator(self.model, batch_size=batch_size, average=average)
        return self._generators[batch_size]

    def _speech(self, generated: Generated, voice: Voice, text: str) -> Speech:
        started = time.perf_counter()
        wav = self._decode(generated, voice)
        return Speech(
            text=text,
            codes=_codes(generated, self.spec.num_codebooks).numpy().astype(np.int32),
            wav=wav,
            sample_rate=self.spec.sample_rate,
            reason=generated.reason,
            steps=generated.steps,
            seconds=generated.seconds + time.perf_counter() - started,
            first_codes_seconds=generated.first_step_seconds,
        )

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


def _pairs(texts: Sequence[str], voices: Sequence[Voice]) -> Iterator[tuple[str, Voice]]:
    if len(texts) != len(voices):
        raise ConfigError(f"{len(texts)} texts and {len(voices)} voices; each text needs its voice")
    return zip(texts, voices, strict=True)


def _in_order(spoken: Iterator[tuple[int, Speech]], count: int, name: str, progress: Progress | None) -> list[Speech]:
    found: dict[int, Speech] = {}
    with (progress or SilentProgress()).task(name, count) as bar:
        for place, speech in spoken:
            found[place] = speech
            bar.advance(1)
    return [found[place] for place in range(count)]

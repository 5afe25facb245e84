"""A model folder that speaks: text (or a question) and a reference voice -> codes -> audio."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmtk import audio
from slmtk.codecs.base import Codec, load_codec_of
from slmtk.data.examples import prompt_steps, reference_clip
from slmtk.data.prompts import normalize_text, prefix, prefix_prompt
from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.errors import AudioError, CodecMismatchError, ConfigError, FormatError
from slmtk.models.generate import Generated, generate
from slmtk.models.quiet import no_bars
from slmtk.models.sampling import Sampling
from slmtk.models.speech_lm import SpeechLM
from slmtk.progress import Progress, SilentProgress
from slmtk.speakers.base import SpeakerEncoder, load_named_encoder
from slmtk.spec import CodecSpec

ANSWER_END = "The speech is:"
"""What the model writes between its answer's text and the speech (the templates' words)."""


@dataclass(frozen=True)
class Voice:
    """A voice to speak in.

    Attributes:
        id: the reference's name, for seeds and reports.
        path: the reference recording; None if nobody needs one.
        speaker: float32 [D], the codec's timbre vector of the reference, None if the codec has none: it gives the
            decoded audio its voice, and conditions a speaker-aware model that was trained with such vectors.
        embedding: float32 [D'], the vector by the speaker encoder of a model that was trained with another's.
        codes: int64 [K, T], the beginning of the reference, for a model that reads it in its prompt.
    """

    id: str
    path: Path | None
    speaker: Tensor | None
    embedding: Tensor | None = None
    codes: Tensor | None = None


@dataclass
class Speech:
    """What the model said.

    Attributes:
        text: what it meant to say: the text it was given, or the answer it wrote.
        codes: int32 [K, T].
        wav: float32 [S].
        sample_rate: Hz.
        reason: "" for success, else "no_end", "loop", "empty" or "no_speech".
        steps: of the model.
        seconds: of wall time, codes and audio.
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

    def voice(self, path: Path) -> Voice:
        """Make a voice of a reference recording: all that the codec and the model want to know of it.

        Raises:
            AudioError: the recording cannot be used.
        """
        wav, _ = audio.read(path, self.spec.sample_rate)
        if not len(wav):
            raise AudioError(f"{path} holds no audio; a reference needs a second or more of speech", kind="empty")
        encoded = self.codec.encode(audio.pad_to_frames(wav, self.spec.frame_size)[None])
        embedding = None
        if self.encoder is not None:
            embedding = self.encoder.embed(audio.read(path, self.encoder.sample_rate)[0])
        codes = reference_clip(encoded.codes[0].cpu(), self.spec) if self.reference_prompt else None
        return Voice(path.stem, path, None if encoded.speaker is None else encoded.speaker[0], embedding, codes)

    def speak(
        self,
        texts: Sequence[str],
        voices: Sequence[Voice],
        sampling: Sampling,
        progress: Progress | None = None,
    ) -> list[Speech]:
        """Speak each text in the voice beside it.

        Raises:
            ConfigError: the model was not trained to read text, or there are not as many voices as texts.
        """
        return self._run("tts", texts, voices, sampling, progress)

    def answer(
        self,
        questions: Sequence[str],
        voices: Sequence[Voice],
        sampling: Sampling,
        progress: Progress | None = None,
    ) -> list[Speech]:
        """Answer each question in the voice beside it: the model writes an answer, then speaks it.

        Raises:
            ConfigError: the model was not trained to answer, or there are not as many voices as questions.
        """
        return self._run("qa", questions, voices, sampling, progress)

    def _run(
        self, task: str, texts: Sequence[str], voices: Sequence[Voice], sampling: Sampling, progress: Progress | None
    ) -> list[Speech]:
        if task not in self.tasks:
            raise ConfigError(
                f"this model was trained for {', '.join(self.tasks)} and not for {task!r}"
                + ("; build its dataset with --questions" if task == "qa" else "")
            )
        if len(texts) != len(voices):
            raise ConfigError(f"{len(texts)} texts and {len(voices)} voices; each text needs its voice")
        speeches = []
        with (progress or SilentProgress()).task("synth" if task == "tts" else "answer", len(texts)) as bar:
            for text, voice in zip(texts, voices, strict=True):
                speeches.append(self._one(task, text, voice, sampling))
                bar.advance(1)
        return speeches

    def _one(self, task: str, text: str, voice: Voice, sampling: Sampling) -> Speech:
        started = time.perf_counter()
        ids, placeholder = self._prefix(task, text, voice)
        vector = voice.speaker if self.encoder is None else voice.embedding
        if placeholder is not None and vector is None:
            raise ConfigError("this model speaks in the voice of a reference; give --speaker REF.wav")
        generator = torch.Generator().manual_seed(_seed(sampling.seed, task, text, voice.id))
        generated = generate(self.model, ids, placeholder, vector, sampling, generator)
        wav = self._decode(generated, voice)
        return Speech(
            text=normalize_text(text) if task == "tts" else self._answer_text(generated),
            codes=_codes(generated).numpy().astype(np.int32),
            wav=wav,
            sample_rate=self.spec.sample_rate,
            reason=generated.reason,
            steps=generated.steps,
            seconds=time.perf_counter() - started,
            first_codes_seconds=generated.first_step_seconds,
        )

    def _prefix(self, task: str, text: str, voice: Voice) -> tuple[list[int] | Tensor, int | None]:
        vocabulary = self.model.vocabulary
        if not self.reference_prompt:
            return prefix(task, text, self.tokenizer, vocabulary, self.speaker_aware)
        if voice.codes is None:
            raise ConfigError("this model speaks in the voice of a reference; give --speaker REF.wav")
        prompt = prefix_prompt(task, text, self.tokenizer, vocabulary, reference_prompt=True)
        return prompt_steps(prompt, vocabulary, self.model.layout, reference=voice.codes), None

    def _decode(self, generated: Generated, voice: Voice) -> Tensor:
        codes = _codes(generated)
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


def _codes(generated: Generated) -> Tensor:
    if generated.codes is None:
        return torch.zeros(0, 0, dtype=torch.int64)
    return generated.codes.cpu()


def _seed(*parts: object) -> int:
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:7], "big")

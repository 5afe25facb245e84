"""A reference recording becomes what the model and the codec want to know of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk import audio
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError
from slmtk.models import speaker as module
from slmtk.models.build import build_model
from slmtk.models.decoding.batch import Generated
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Ask, Synthesizer, Voice
from slmtk.speakers.base import SpeakerEncoder
from tests.helpers.tone import ToneCodec, VoicedToneCodec

BYTES = ByteTokenizer()


class RateEncoder(SpeakerEncoder):
    """The vector is how many samples it was given, and its own rate."""

    name, dim, sample_rate = "rate 1", 2, 8_000

    @classmethod
    def create(cls, *, model: str | None = None, device: str = "cpu") -> RateEncoder:
        return cls()

    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        return torch.tensor([float(len(wav)), float(self.sample_rate)])


def synthesizer(codec, encoder: SpeakerEncoder | None = None, **settings) -> Synthesizer:
    torch.manual_seed(0)
    settings = {"layout": "grouped", "frames_per_step": 2, **settings}
    model = build_model(settings, Vocabulary(259, codec.spec).to_dict(), base="tiny", size="xs")
    return Synthesizer(model, BYTES, codec, ("tts",), encoder)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Five seconds of a tone of 500 Hz: code 4 in every frame."""
    wave = 0.5 * torch.sin(torch.arange(80_000) * (2 * torch.pi * 500 / 16_000))
    audio.write(tmp_path / "ref.wav", wave, 16_000)
    return tmp_path / "ref.wav"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What generation is started with; it then says nothing."""
    seen: dict[str, object] = {}

    class Silent:
        def __init__(self, model, *, batch_size: int, average) -> None:
            seen["batch_size"], seen["average"] = batch_size, average

        def run(self, requests):
            for place, request in reversed(list(enumerate(requests))):
                seen.update(vars(request))
                yield place, Generated(reason="empty")

    monkeypatch.setattr(module, "BatchGenerator", Silent)
    return seen


def test_the_codecs_vector_is_both_voice_and_condition(clip: Path, given: dict[str, object]):
    made = synthesizer(VoicedToneCodec(), speaker_dim=1, speaker_encoder="codec")
    voice = made.voice(clip)
    assert voice.speaker is not None
    assert (voice.speaker.item(), voice.embedding, voice.codes) == (pytest.approx(0.5, abs=1e-3), None, None)
    made.speak(["Hi"], [voice], Sampling())
    assert given["speaker"] is voice.speaker


def test_another_encoders_vector_conditions_and_the_codecs_gives_the_voice(clip: Path, given: dict[str, object]):
    made = synthesizer(VoicedToneCodec(), RateEncoder(), speaker_dim=2, speaker_encoder="rate")
    voice = made.voice(clip)
    assert voice.embedding is not None
    assert voice.embedding.tolist() == [40_000.0, 8_000.0]
    made.speak(["Hi"], [voice], Sampling())
    assert given["speaker"] is voice.embedding
    assert set(given["prefix"][given["placeholder"]].tolist()) == {made.model.vocabulary.placeholder}  # type: ignore[index]


def test_reference_codes_stand_in_the_prompt_three_seconds_of_them(clip: Path, given: dict[str, object]):
    made = synthesizer(ToneCodec(), reference_prompt=True)
    voice = made.voice(clip)
    assert voice.codes is not None
    assert voice.codes.shape == (2, 150)
    assert set(voice.codes[0].tolist()) == {4}
    made.speak(["Hi"], [voice], Sampling())
    ids, vocabulary = given["prefix"], made.model.vocabulary
    assert isinstance(ids, torch.Tensor)
    first, last = (ids[:, 0] == vocabulary.sosp).nonzero()[:, 0].tolist()
    assert last == len(ids) - 1
    assert ids[first + 1 : first + 76, 0].tolist() == [vocabulary.code_offset(0) + 4] * 75
    assert ids[first + 76].tolist() == [vocabulary.eosp] * 4
    assert (given["placeholder"], given["speaker"]) == (None, None)


@pytest.mark.parametrize(
    ("codec", "settings", "needed"),
    [
        (ToneCodec, {}, False),
        (VoicedToneCodec, {}, True),
        (ToneCodec, {"reference_prompt": True}, True),
        (ToneCodec, {"speaker_dim": 2, "speaker_encoder": "rate"}, True),
    ],
)
def test_whether_a_voice_is_needed(codec, settings, needed, given):
    made = synthesizer(codec(), RateEncoder() if "speaker_dim" in settings else None, **settings)
    assert made.needs_voice is needed
    if needed and codec is ToneCodec:
        with pytest.raises(ConfigError, match=r"give --speaker REF\.wav"):
            made.speak(["Hi"], [Voice("none", None, None)], Sampling())


def test_another_encoder_than_the_models_is_refused(monkeypatch: pytest.MonkeyPatch):
    model = synthesizer(ToneCodec(), RateEncoder(), speaker_dim=2, speaker_encoder="rate").model
    monkeypatch.setattr("slmtk.plugins.load", lambda group, name: {"rate": RateEncoder}[name])
    assert module._encoder_of(model, "rate 1", "cpu").dim == 2
    with pytest.raises(ConfigError, match="is rate 1 of 2 values; the model was trained with rate 0 of 2"):
        module._encoder_of(model, "rate 0", "cpu")
    wider = synthesizer(ToneCodec(), RateEncoder(), speaker_dim=3, speaker_encoder="rate").model
    with pytest.raises(ConfigError, match="trained with rate of 3"):
        module._encoder_of(wider, "", "cpu")
    codecs = synthesizer(VoicedToneCodec(), speaker_dim=1, speaker_encoder="codec").model
    assert module._encoder_of(codecs, "", "cpu") is None


def test_speeches_come_in_the_order_of_their_texts_and_the_batch_is_as_large_as_asked(given: dict[str, object]):
    made = synthesizer(ToneCodec())
    voice = Voice("none", None, None)
    spoken = made.speak(["One", "Two", "Three"], [voice] * 3, Sampling(), batch_size=5)
    assert [speech.text for speech in spoken] == ["One", "Two", "Three"]
    assert (given["batch_size"], given["text_length"]) == (5, 3)  # of "One", which this generator finished last
    assert spoken[0].codes.shape == (2, 0)
    with pytest.raises(ConfigError, match="2 texts and 1 voices"):
        made.speak(["One", "Two"], [voice], Sampling())


def test_a_seed_of_its_own_takes_the_place_of_the_samplings():
    made, voice = synthesizer(ToneCodec()), Voice("none", None, None)
    drawn = [
        made.request("tts", "Hi", voice, Sampling(seed=seed), own).seed for seed, own in ((0, 3), (3, None), (3, 4))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_speech_of_the_real_generator_is_the_same_in_a_batch_and_alone():
    made, voice = synthesizer(ToneCodec()), Voice("none", None, None)
    sampling = Sampling(temperature=1.0, max_seconds=0.3, loop_seconds=0, seed=2)
    texts = ["One", "Two and more", "Three"]
    together = made.speak(texts, [voice] * 3, sampling, batch_size=2)
    for text, speech in zip(texts, together, strict=True):
        (alone,) = made.speak([text], [voice], sampling)
        assert alone.codes.tolist() == speech.codes.tolist()
        assert speech.seconds >= speech.first_codes_seconds > 0  # type: ignore[operator]
    assert len({str(speech.codes.tolist()) for speech in together}) == 3


def answering(**settings) -> tuple[Synthesizer, Voice]:
    """An untrained model that may do everything, and a voice for it."""
    made = synthesizer(VoicedToneCodec(), speaker_dim=1, speaker_encoder="codec", **settings)
    made.tasks = ("tts", "qa", "sqa", "qa-speech", "sqa-speech")
    with torch.no_grad():
        for weight in made.model.parameters():
            if weight.ndim == 2:
                weight.mul_(6.0)  # so large that it says many things
    return made, Voice("v", None, torch.tensor([0.5]))


def asked(frames: int, pitch: int) -> np.ndarray:
    return np.stack([np.full(frames, pitch), np.arange(frames) % 16]).astype(np.int32)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    "layout", [{}, {"layout": "interleaved", "frames_per_step": 1}], ids=["grouped", "interleaved"]
)
def test_answers_of_every_kind_are_the_same_in_any_batch_and_alone(layout, temperature):
    made, voice = answering(**layout)
    sampling = Sampling(temperature=temperature, max_seconds=0.4, loop_seconds=0, seed=2, max_text_tokens=9)
    forms = ("text+speech", "speech")
    asks = [Ask("Who was it?", voice, form=form) for form in forms]
    asks += [Ask(None, voice, asked(frames, 7 * frames), form) for form in forms for frames in (3, 5, 8)]
    together = [dict(made.answer_each(asks, sampling, batch_size=size)) for size in (8, 3, 1)]
    assert all(set(found) == set(range(8)) for found in together)
    for place in range(8):
        codes = [found[place].codes.tolist() for found in together]
        assert codes[0] == codes[1] == codes[2]
        told = {(found[place].text, found[place].reason, found[place].steps) for found in together}
        assert len(told) == 1
    alone = [together[0][place] for place in (1, 5, 6, 7)]
    assert [speech.text for speech in alone] == [""] * 4
    assert all(speech.codes.shape[1] for speech in alone)
    if temperature:
        assert len({str(speech.codes.tolist()) for speech in alone}) == 4


def test_what_is_asked_is_what_the_model_reads(given: dict[str, object]):
    made, voice = answering()
    dict(made.answer_each([Ask("Who?", voice, asked(4, 9), "speech")], Sampling(), batch_size=3))
    ids, vocabulary = given["prefix"], made.model.vocabulary
    assert isinstance(ids, torch.Tensor)
    first = int((ids[:, 0] == vocabulary.sosp).nonzero()[0])
    assert ids[first + 1 : first + 3, 0].tolist() == [vocabulary.code_offset(0) + 9] * 2
    assert ids[first + 3].tolist() == [vocabulary.eosp] * 4
    assert ids[given["placeholder"], 0] == vocabulary.placeholder  # type: ignore[index]
    assert int(ids[-1, 0]) == vocabulary.sosp
    assert (given["task"], given["batch_size"], given["text_length"]) == ("sqa-speech", 3, 0)


def test_a_written_question_is_answered_as_ever_and_each_ask_may_have_its_own_seed():
    made, voice = answering()
    sampling = Sampling(temperature=1.0, max_seconds=0.4, loop_seconds=0, max_text_tokens=5)
    asks = [
        Ask("Who?", voice),
        Ask("Who?", voice, seed=5),
        Ask(None, voice, asked(4, 9)),
        Ask(None, voice, asked(4, 8)),
    ]
    seeds = [made._question(ask, sampling).seed for ask in asks]
    assert len(set(seeds)) == 4
    assert seeds[0] == made.request("qa", "Who?", voice, sampling).seed
    assert seeds[1] == made.request("qa", "Who?", voice, Sampling(seed=5)).seed
    (old,) = made.answer(["Who?"], [voice], sampling)
    ((_, new),) = made.answer_each(asks[:1], sampling)
    assert (old.text, old.codes.tolist(), old.reason) == (new.text, new.codes.tolist(), new.reason)


def test_asks_that_cannot_be_answered_are_refused():
    made, voice = answering()
    for values, match in (
        ({"question": None}, "nothing is asked"),
        ({"question": " "}, "nothing is asked"),
        ({"question": "Who?", "form": "song"}, "'song' of an answer; expected one of text\\+speech, speech"),
        ({"question": None, "question_codes": np.zeros((2, 0))}, r"shape \[2, 0\]"),
        ({"question": None, "question_codes": np.zeros(5)}, r"shape \[5\]; expected \[K, T\]"),
    ):
        with pytest.raises(ConfigError, match=match):
            Ask(voice=voice, **values)
    with pytest.raises(FormatError, match=r"3 streams of codes; .* has 2"):
        list(made.answer_each([Ask(None, voice, np.zeros((3, 4)))], Sampling()))
    for wrong in (np.array([[64], [0]]), np.array([[0], [16]]), np.array([[-1], [0]])):
        with pytest.raises(FormatError, match="encode it with the model's codec"):
            list(made.answer_each([Ask(None, voice, wrong)], Sampling()))
    made.tasks = ("tts", "qa")
    with pytest.raises(ConfigError, match=r"not for 'sqa'; .*--questions and --spoken-questions, --answer-task sqa"):
        list(made.answer_each([Ask(None, voice, asked(4, 9))], Sampling()))
    with pytest.raises(ConfigError, match=r"not for 'qa-speech'; .*--questions, --answer-task qa-speech"):
        list(made.answer_each([Ask("Who?", voice, form="speech")], Sampling()))


@pytest.mark.parametrize("can_average", [False, True])
def test_the_codec_averages_if_it_can(clip: Path, given: dict[str, object], can_average: bool):
    codec = VoicedToneCodec()
    codec.can_average = can_average
    made = synthesizer(codec, speaker_dim=1, speaker_encoder="codec")
    made.speak(["one"], [made.voice(clip)], Sampling(), batch_size=1)
    assert given["average"] == (codec.average if can_average else None)

"""Recognisers of the transformers library, with small random models saved here as the hub has them: offline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from helpers.tiny_recognizers import LETTERS, save_moonshine, save_parakeet, save_wav2vec2, save_whisper
from transformers import (
    AutoProcessor,
    HubertForCTC,
    MoonshineForConditionalGeneration,
    MoonshineStreamingForConditionalGeneration,
    ParakeetForCTC,
    ParakeetForTDT,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from slmtk.asr.base import load_recognizer
from slmtk.asr.hf import TransformersRecognizer
from slmtk.asr.pieces import cut
from slmtk.errors import AudioError, ConfigError, FormatError, WeightsError

MAKERS = {
    "wav2vec2-large": save_wav2vec2,
    "wav2vec2-base": lambda folder: save_wav2vec2(folder, masked=False),
    "hubert-large": lambda folder: save_wav2vec2(folder, "hubert"),
    "wavlm": lambda folder: save_wav2vec2(folder, "wavlm"),
    "parakeet-ctc": lambda folder: save_parakeet(folder, "ctc"),
    "parakeet-tdt": lambda folder: save_parakeet(folder, "tdt"),
    "parakeet-rnnt": lambda folder: save_parakeet(folder, "rnnt"),
    "moonshine": save_moonshine,
    "moonshine-streaming": lambda folder: save_moonshine(folder, streaming=True),
    "whisper-en": save_whisper,
    "whisper": lambda folder: save_whisper(folder, languages=("en", "zh")),
}
ONE_AT_A_TIME = {"wav2vec2-base", "moonshine", "moonshine-streaming"}


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise whose level changes 40 times a second, as speech's does."""
    generator = torch.Generator().manual_seed(seed)
    samples = int(16_000 * seconds)
    levels = torch.rand(samples // 400 + 1, generator=generator).repeat_interleave(400)[:samples]
    return torch.randn(samples, generator=generator) * levels * 0.2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder of a kind of model, made once."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            MAKERS[kind](made[kind])
        return made[kind]

    return get


@pytest.mark.parametrize("kind", MAKERS)
def test_texts_do_not_depend_on_batch_mates(checkpoint, kind):
    wavs = [noise(1.0, 1), noise(0.5, 2), noise(2.0, 3), noise(0.01, 4), noise(1.37, 5)]
    recognizer = load_recognizer("transformers", model=str(checkpoint(kind)))
    alone = [recognizer.transcribe([wav])[0] for wav in wavs]
    assert len(set(alone)) > 2
    assert recognizer.transcribe(wavs) == alone
    assert recognizer.transcribe(wavs[::-1]) == alone[::-1]


@pytest.mark.parametrize("kind", MAKERS)
def test_models_that_can_be_given_several_are(checkpoint, kind, monkeypatch):
    recognizer = TransformersRecognizer(str(checkpoint(kind)), batch_size=3)
    sizes = []
    heard = recognizer._decoding.texts
    monkeypatch.setattr(recognizer._decoding, "texts", lambda i, s: sizes.append(len(t := heard(i, s))) or t)
    recognizer.transcribe([noise(0.3 + 0.1 * number, number) for number in range(4)])
    assert sizes == ([1] * 4 if kind in ONE_AT_A_TIME else [3, 1])


@pytest.mark.parametrize(("kind", "model_class"), [("wav2vec2-base", Wav2Vec2ForCTC), ("hubert-large", HubertForCTC)])
def test_ctc_texts_are_those_of_the_model_called_by_hand(checkpoint, kind, model_class):
    wav, folder = noise(1.0), checkpoint(kind)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    features = extractor(wav.numpy(), sampling_rate=16_000, return_tensors="pt")
    best = model_class.from_pretrained(folder).eval()(**features).logits.argmax(-1)[0].tolist()
    joined = [token for place, token in enumerate(best) if place == 0 or token != best[place - 1]]
    by_hand = "".join(" " if token < 5 and token else LETTERS[token] for token in joined if token)
    assert by_hand.strip()
    assert TransformersRecognizer(str(folder)).transcribe([wav]) == [" ".join(by_hand.split())]


def test_whisper_texts_are_those_of_the_model_called_by_hand(checkpoint):
    wav, folder = noise(1.0), checkpoint("whisper-en")
    features = WhisperFeatureExtractor.from_pretrained(folder)(wav.numpy(), sampling_rate=16_000, return_tensors="pt")
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    tokens = model.generate(features.input_features, max_new_tokens=12, do_sample=False)
    by_hand = WhisperTokenizer.from_pretrained(folder).batch_decode(tokens, skip_special_tokens=True)[0]
    assert by_hand.strip()
    assert TransformersRecognizer(str(folder)).transcribe([wav]) == [by_hand.strip()]


@pytest.mark.parametrize(
    ("kind", "model_class"),
    [
        ("parakeet-ctc", ParakeetForCTC),
        ("parakeet-tdt", ParakeetForTDT),
        ("moonshine", MoonshineForConditionalGeneration),
        ("moonshine-streaming", MoonshineStreamingForConditionalGeneration),
    ],
)
def test_texts_are_those_of_the_published_example_of_processor_and_generate(checkpoint, kind, model_class):
    wav, folder = noise(2.0), checkpoint(kind)
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(wav.numpy(), sampling_rate=16_000, return_tensors="pt")
    settings = {"max_new_tokens": 13} if kind.startswith("moonshine") else {}  # 6.5 tokens a second
    model = model_class.from_pretrained(folder).eval()
    if kind == "parakeet-tdt":  # scores of five durations follow those of the tokens
        settings["suppress_tokens"] = list(range(model.config.vocab_size, model.config.vocab_size + 5))
    tokens = model.generate(**inputs, **settings)
    tokens = getattr(tokens, "sequences", tokens)
    (by_hand,) = processor.batch_decode(tokens, skip_special_tokens=True)
    assert by_hand.strip()
    assert TransformersRecognizer(str(folder)).transcribe([wav]) == [by_hand.strip()]


def test_moonshine_stops_where_its_authors_stop_it(checkpoint):
    (text,) = TransformersRecognizer(str(checkpoint("moonshine"))).transcribe([noise(4.0)])
    assert len(text.replace(" ", "")) == 2 * 26  # a token is two letters; this model never ends by itself


def test_long_recordings_are_recognised_piece_by_piece(checkpoint):
    wav = noise(32.0)
    wav[16_000 * 27 : 16_000 * 27 + 640] = 0.0
    recognizer = TransformersRecognizer(str(checkpoint("whisper")))
    first, second = cut(wav.numpy(), 16_000)
    pieces = recognizer.transcribe([torch.from_numpy(first), torch.from_numpy(second)])
    assert all(pieces)
    between = noise(0.5, 1)
    assert recognizer.transcribe([wav, between])[0] == " ".join(pieces)


def test_silence_says_nothing(checkpoint):
    recognizer = TransformersRecognizer(str(checkpoint("hubert-large")))
    assert recognizer.transcribe([torch.zeros(0), torch.zeros(16_000)]) == ["", ""]
    assert recognizer.transcribe([]) == []
    with pytest.raises(AudioError, match="NaN"):
        recognizer.transcribe([torch.tensor([float("nan")])])


def test_a_multilingual_model_is_told_the_language(checkpoint):
    english, chinese = (
        load_recognizer("transformers", model=str(checkpoint("whisper")), language=language)
        for language in ("en", "zh")
    )
    wavs = [noise(1.0, seed) for seed in range(3)]
    assert english.transcribe(wavs) != chinese.transcribe(wavs)
    assert english.name.endswith(" en")
    assert chinese.name == english.name.removesuffix("en") + "zh"


def test_a_language_that_the_model_does_not_know_is_refused(checkpoint):
    with pytest.raises(ConfigError, match="does not know the language 'xx'; it knows en zh"):
        load_recognizer("transformers", model=str(checkpoint("whisper")), language="xx")
    with pytest.raises(ConfigError, match="knows English alone, not 'zh'"):
        load_recognizer("transformers", model=str(checkpoint("whisper-en")), language="zh")


@pytest.fixture
def hub(monkeypatch, tmp_path, checkpoint) -> dict[str, str]:
    """The cache of the hub with two commits of one model, as a download leaves it: name of commit -> its 40 digits."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commits = {"old": "0123456789" * 4, "new": "abcdef0123" * 4}
    home = tmp_path / "models--somebody--hubert"
    for commit in commits.values():
        shutil.copytree(checkpoint("hubert-large"), home / "snapshots" / commit)
    model = HubertForCTC.from_pretrained(checkpoint("hubert-large"))
    torch.nn.init.normal_(model.lm_head.weight, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(home / "snapshots" / commits["new"])
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commits["new"])
    (home / "refs" / "v1").write_text(commits["old"])
    return commits


def test_a_revision_pins_weights_and_is_in_the_name(hub, checkpoint):
    wav = noise(1.0)
    newest = load_recognizer("transformers", model="somebody/hubert")
    tagged = load_recognizer("transformers", model="somebody/hubert", revision="v1")
    pinned = load_recognizer("transformers", model="somebody/hubert", revision=hub["old"])
    assert newest.name == "transformers somebody/hubert abcdef0123ab"
    assert tagged.name == pinned.name == "transformers somebody/hubert 012345678901"
    old_texts = TransformersRecognizer(str(checkpoint("hubert-large"))).transcribe([wav])
    assert pinned.transcribe([wav]) == tagged.transcribe([wav]) == old_texts
    assert newest.transcribe([wav]) != old_texts


def test_a_revision_pins_the_configuration_too(hub, tmp_path):
    newest = tmp_path / "models--somebody--hubert" / "snapshots" / hub["new"]
    (newest / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert load_recognizer("transformers", model="somebody/hubert", revision="v1").name.endswith(" 012345678901")
    with pytest.raises(FormatError, match="is a bert model"):
        load_recognizer("transformers", model="somebody/hubert")


def test_a_revision_that_cannot_be_had_is_named(hub, checkpoint):
    with pytest.raises(WeightsError, match=r"recogniser somebody/hubert at v2 is not in the hub's cache"):
        load_recognizer("transformers", model="somebody/hubert", revision="v2")
    with pytest.raises(ConfigError, match="is a local folder, which has no revision 'v1'"):
        load_recognizer("transformers", model=str(checkpoint("hubert-large")), revision="v1")


def test_the_name_changes_with_weights_vocabulary_and_rules(checkpoint, tmp_path):
    shutil.copytree(checkpoint("wav2vec2-large"), tmp_path / "model")
    names = []
    for change in ("nothing", "nothing", "weights", "vocab.json", "preprocessor_config.json"):
        if change == "weights":
            model = Wav2Vec2ForCTC.from_pretrained(tmp_path / "model")
            torch.nn.init.zeros_(model.lm_head.weight)
            model.save_pretrained(tmp_path / "model")
        elif change != "nothing":
            path = tmp_path / "model" / change
            path.write_text(path.read_text() + "\n")
        names.append(TransformersRecognizer(str(tmp_path / "model")).name)
    assert names[0] == names[1]
    assert len(set(names)) == 4


def test_what_is_no_recogniser_is_named_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    with pytest.raises(FormatError, match=r"is a bert model \(BertModel\), not a speech recogniser that works from"):
        TransformersRecognizer(str(tmp_path))
    with pytest.raises(FormatError, match="not a speech recogniser"):
        TransformersRecognizer(str(tmp_path / "nothing"))


def test_weights_without_the_layer_that_writes_are_refused(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint("hubert-large"), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"], tensors["lm_head.bias"], tensors["hubert.masked_spec_embed"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"the weights lack 2 tensors of the model \(lm_head.bias, ...\)"):
        TransformersRecognizer(str(tmp_path / "model"))


def test_nothing_is_said_while_it_loads_and_listens(checkpoint, capfd):
    TransformersRecognizer(str(checkpoint("whisper"))).transcribe([noise(0.5), noise(0.6)])
    assert capfd.readouterr() == ("", "")


def test_a_model_is_needed_and_a_grammar_is_not(tmp_path):
    with pytest.raises(ConfigError, match="needs a model"):
        TransformersRecognizer.create()
    with pytest.raises(ConfigError, match="no use for"):
        TransformersRecognizer.create(model="x", grammar=tmp_path / "g.jsgf")

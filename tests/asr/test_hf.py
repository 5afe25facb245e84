"""Recognisers of the transformers library, with tiny random models saved here: every path, offline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from slmtk.asr.base import load_recognizer
from slmtk.asr.hf import TransformersRecognizer, cut
from slmtk.errors import AudioError, ConfigError, FormatError

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(int(16_000 * seconds), generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.fixture(scope="module", params=["masked", "unmasked"])
def ctc(request, tmp_path_factory) -> Path:
    """A wav2vec 2.0 model with 16 hidden units, with and without attention mask."""
    folder, masked = tmp_path_factory.mktemp("ctc"), request.param == "masked"
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(LETTERS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(10, 8, 4),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer" if masked else "group",
        do_stable_layer_norm=masked,
        pad_token_id=0,
    )
    model = Wav2Vec2ForCTC(config)
    torch.nn.init.normal_(model.lm_head.weight, std=5.0)  # letters that change from frame to frame
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(LETTERS)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=masked, do_normalize=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory) -> Path:
    """A Whisper model with 16 hidden units and single bytes for tokens."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    vocabulary = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|startoftranscript|>", "<|notimestamps|>"]})
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|startoftranscript|>", "<|endoftext|>"))
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer) + 8,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_target_positions=16,
            decoder_start_token_id=start,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def test_ctc_texts_are_those_of_the_model_called_by_hand(ctc):
    wav = noise(1.0)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(ctc)
    features = extractor(wav.numpy(), sampling_rate=16_000, return_tensors="pt")
    best = Wav2Vec2ForCTC.from_pretrained(ctc).eval()(**features).logits.argmax(-1)[0].tolist()
    joined = [token for place, token in enumerate(best) if place == 0 or token != best[place - 1]]
    by_hand = "".join(" " if token < 5 and token else LETTERS[token] for token in joined if token)
    assert by_hand.strip()
    assert TransformersRecognizer(str(ctc)).transcribe([wav]) == [" ".join(by_hand.split())]


def test_ctc_texts_do_not_depend_on_batch_mates(ctc):
    wavs = [noise(1.0, 1), noise(0.5, 2), noise(2.0, 3), noise(0.01, 4)]
    recognizer = load_recognizer("transformers", model=str(ctc))
    alone = [recognizer.transcribe([wav])[0] for wav in wavs]
    assert recognizer.transcribe(wavs) == alone
    assert recognizer.transcribe(wavs[::-1]) == alone[::-1]


def test_whisper_texts_are_those_of_the_model_called_by_hand(whisper):
    wav = noise(1.0)
    features = WhisperFeatureExtractor.from_pretrained(whisper)(wav.numpy(), sampling_rate=16_000, return_tensors="pt")
    model = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    tokens = model.generate(features.input_features, max_new_tokens=12, do_sample=False)
    by_hand = WhisperTokenizer.from_pretrained(whisper).batch_decode(tokens, skip_special_tokens=True)[0]
    assert by_hand.strip()
    assert TransformersRecognizer(str(whisper)).transcribe([wav]) == [by_hand.strip()]


def test_long_recordings_are_recognised_piece_by_piece(whisper):
    wav = noise(32.0)
    wav[16_000 * 27 : 16_000 * 27 + 640] = 0.0
    recognizer = TransformersRecognizer(str(whisper))
    first, second = cut(wav.numpy(), 16_000)
    pieces = recognizer.transcribe([torch.from_numpy(first), torch.from_numpy(second)])
    assert recognizer.transcribe([wav]) == [" ".join(piece for piece in pieces if piece)]


def test_a_cut_lies_in_the_quietest_moment_and_loses_nothing():
    samples = np.full(16_000 * 61, 0.5, np.float32)
    samples[16_000 * 26 : 16_000 * 26 + 320] = 0.0
    pieces = cut(samples, 16_000)
    assert len(pieces[0]) == 16_000 * 26 + 160
    assert [len(piece) <= 16_000 * 30 for piece in pieces] == [True] * 3
    np.testing.assert_array_equal(np.concatenate(pieces), samples)


def test_silence_says_nothing(ctc):
    assert TransformersRecognizer(str(ctc)).transcribe([torch.zeros(0), torch.zeros(16_000)]) == ["", ""]
    with pytest.raises(AudioError, match="NaN"):
        TransformersRecognizer(str(ctc)).transcribe([torch.tensor([float("nan")])])


def test_the_name_changes_with_the_weights(ctc, tmp_path):
    model = Wav2Vec2ForCTC.from_pretrained(ctc)
    before = TransformersRecognizer(str(ctc)).name
    for path in ctc.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(tmp_path)
    after = TransformersRecognizer(str(tmp_path)).name
    assert before.split("sha256:")[1] != after.split("sha256:")[1]


def test_what_is_no_recogniser_is_named_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    with pytest.raises(FormatError, match=r"is a bert model \(BertModel\), not a speech recogniser"):
        TransformersRecognizer(str(tmp_path))
    with pytest.raises(FormatError, match="not a speech recogniser"):
        TransformersRecognizer(str(tmp_path / "nothing"))


def test_a_model_is_needed_and_a_grammar_is_not(tmp_path):
    with pytest.raises(ConfigError, match="needs a model"):
        TransformersRecognizer.create()
    with pytest.raises(ConfigError, match="no use for"):
        TransformersRecognizer.create(model="x", grammar=tmp_path / "g.jsgf")

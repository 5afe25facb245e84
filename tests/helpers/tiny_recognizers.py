"""Speech recognisers with random weights, saved as the hub publishes them: configuration, features, tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    HubertConfig,
    HubertForCTC,
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    MoonshineStreamingConfig,
    MoonshineStreamingForConditionalGeneration,
    MoonshineStreamingProcessor,
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetForRNNT,
    ParakeetForTDT,
    ParakeetProcessor,
    ParakeetRNNTConfig,
    ParakeetTDTConfig,
    ParakeetTokenizer,
    PreTrainedTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WavLMConfig,
    WavLMForCTC,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
SYLLABLES = [f"{first}{second}" for first in "bdfgklmnprst" for second in "aeiou"]
WAV2VEC2_FAMILY = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2ForCTC),
    "hubert": (HubertConfig, HubertForCTC),
    "wavlm": (WavLMConfig, WavLMForCTC),
}


def save_wav2vec2(
    folder: Path, kind: str = "wav2vec2", *, masked: bool = True, hidden: int = 16, layers: int = 1
) -> Path:
    """A CTC model over raw samples, with the convolutions of the published ones but fewer channels.

    ``masked`` as in the large models (layer norm, attention mask); the base models have neither.
    """
    torch.manual_seed(0)
    config_class, model_class = WAV2VEC2_FAMILY[kind]
    model = model_class(
        config_class(
            vocab_size=len(LETTERS),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=hidden,
            conv_dim=(hidden,) * 7,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            feat_extract_norm="layer" if masked else "group",
            do_stable_layer_norm=masked,
            pad_token_id=0,
        )
    )
    # Through seven convolutions of small random weights every frame would say the same.
    for name, weight in model.named_parameters():
        if "conv_layers" in name and name.endswith("conv.weight"):
            torch.nn.init.normal_(weight, std=(2 / weight[0].numel()) ** 0.5)
    torch.nn.init.normal_(model.lm_head.weight, std=5.0)  # letters that change from frame to frame
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(LETTERS)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=masked, do_normalize=True)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def save_whisper(
    folder: Path,
    *,
    languages: tuple[str, ...] = (),
    times: bool = False,
    width: int = 16,
    layers: int = 1,
    positions: int = 16,
) -> Path:
    """A Whisper model with single bytes for tokens; with ``languages`` a multilingual one, with ``times`` all 1501."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    torch.manual_seed(0)
    vocabulary = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    spoken = [f"<|{language}|>" for language in languages]
    controls = ["<|startoftranscript|>", *spoken, "<|translate|>", "<|transcribe|>", "<|startoflm|>"]
    controls += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    controls += [f"<|{hundredths / 100:.2f}|>" for hundredths in range(0, 3001, 2)] if times else []
    tokenizer.add_special_tokens({"additional_special_tokens": controls})
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|startoftranscript|>", "<|endoftext|>"))
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            d_model=width,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=width,
            decoder_ffn_dim=width,
            max_target_positions=positions,
            decoder_start_token_id=start,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
    )
    for name, weight in model.named_parameters():  # else every recording would say the same
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=1.0 if "attn" in name else 0.3)
    # Of single bytes, those that are no letters would become the same sign of damage.
    rules = model.generation_config
    rules.suppress_tokens = list(range(94, 256))
    rules.begin_suppress_tokens = [end]  # as published: no text is empty
    rules._from_model_config = False  # else transformers leaves the file aside
    if languages:
        rules.is_multilingual = True
        rules.lang_to_id = {token: tokenizer.convert_tokens_to_ids(token) for token in spoken}
        rules.task_to_id = {
            task: tokenizer.convert_tokens_to_ids(f"<|{task}|>") for task in ("transcribe", "translate")
        }
        rules.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def _word_pieces(special: list[str]) -> Tokenizer:
    """A tokenizer of syllables, half of which begin a word."""
    pieces = [*special, *(f"▁{syllable}" for syllable in SYLLABLES), *SYLLABLES]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def save_moonshine(folder: Path, *, streaming: bool = False) -> Path:
    """A Moonshine model over raw samples."""
    torch.manual_seed(0)
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_word_pieces(special), unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False)
    layers = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32, "decoder_start_token_id": 1}
    if streaming:
        encoder = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        encoder |= {"num_key_value_heads": 2, "sliding_windows": ((16, 4),)}
        layers["num_key_value_heads"] = 2
        config = MoonshineStreamingConfig(
            encoder_config=encoder, num_hidden_layers=1, num_attention_heads=2, pad_token_id=2, **layers
        )
        model = MoonshineStreamingForConditionalGeneration(config)
    else:
        config = MoonshineConfig(
            encoder_num_hidden_layers=1,
            decoder_num_hidden_layers=1,
            encoder_num_attention_heads=2,
            decoder_num_attention_heads=2,
            pad_token_id=2,
            **layers,
        )
        model = MoonshineForConditionalGeneration(config)
    for name, weight in model.named_parameters():  # else every recording would say the same
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.5 if "decoder" in name else 0.2)
    model.save_pretrained(folder)
    processor = MoonshineStreamingProcessor if streaming else Wav2Vec2Processor
    processor(extractor, tokenizer).save_pretrained(folder)
    return folder


def save_parakeet(folder: Path, kind: str) -> Path:
    """A Parakeet model ("ctc", "tdt" or "rnnt") over mel bands."""
    torch.manual_seed(0)
    special = ["<unk>", "<pad>"] if kind == "ctc" else ["<unk>", "<pad>", "<blank>"]
    tokenizer = ParakeetTokenizer(tokenizer_object=_word_pieces(special), unk_token="<unk>", pad_token="<pad>")
    if kind != "ctc":
        tokenizer.add_special_tokens({"additional_special_tokens": ["<blank>"]})
    encoder = ParakeetEncoderConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        subsampling_conv_channels=8,
        num_mel_bins=32,
    ).to_dict()
    common = {"vocab_size": len(tokenizer), "encoder_config": encoder, "pad_token_id": 1}
    if kind == "ctc":
        model = ParakeetForCTC(ParakeetCTCConfig(**common))
        torch.nn.init.normal_(model.ctc_head.weight, std=5.0)
    else:
        config_class, model_class = (
            (ParakeetTDTConfig, ParakeetForTDT) if kind == "tdt" else (ParakeetRNNTConfig, ParakeetForRNNT)
        )
        sizes = {"decoder_hidden_size": 16, "num_decoder_layers": 1, "max_symbols_per_step": 3}
        model = model_class(config_class(blank_token_id=2, **sizes, **common))
        model.generation_config.decoder_start_token_id = 2
        torch.nn.init.normal_(model.joint.head.weight, std=5.0)
        torch.nn.init.normal_(model.encoder_projector.weight, std=1.0)
    model.save_pretrained(folder)
    extractor = ParakeetFeatureExtractor(feature_size=32)
    ParakeetProcessor(extractor, tokenizer, decoder_type=kind).save_pretrained(folder)
    return folder

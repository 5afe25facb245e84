"""Backbones of three families with a few thousand random weights, and examples for them."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from slmtk.data.collate import Example, make_example
from slmtk.data.prompts import tts_prompt
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.layout import Layout
from slmtk.models.build import build_model
from slmtk.models.speech_lm import SpeechLM
from slmtk.spec import CodecSpec, Stream

FAMILIES = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
}
SPEC = CodecSpec("small", 1600, 200, (Stream("x", 4), Stream("y", 3), Stream("z", 5)), speaker_dim=2)
VOCABULARY = Vocabulary(259, SPEC)


def write_base(folder: Path, family: str, *, tied: bool, rows: int = 270, dtype: torch.dtype = torch.float32) -> None:
    """Write a causal language model of ``rows`` tokens, as a published one lies in a folder."""
    config_class, model_class = FAMILIES[family]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=rows,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    model_class(config).to(dtype).save_pretrained(folder)


def small_model(base: Path | None = None, *, restless: float = 6.0, seed: int = 0, **settings: object) -> SpeechLM:
    """A model around ``base``, else a tiny one; ``restless`` makes its weights so large that it says many things."""
    torch.manual_seed(seed)
    settings = {
        "layout": "grouped",
        "frames_per_step": 2 if settings.get("layout", "grouped") == "grouped" else 1,
        **settings,
    }
    model = build_model(settings, VOCABULARY.to_dict(), base="tiny" if base is None else str(base), size="xs").eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(restless)
    return model


def example(text: str, frames: int, layout: Layout, *, voice: bool = False) -> Example:
    """An example of ``text`` and random codes that depend on ``frames`` alone."""
    tokenizer = load_text_tokenizer("bytes")
    random = torch.Generator().manual_seed(frames)
    codes = torch.stack([torch.randint(0, stream.size, (frames,), generator=random) for stream in SPEC.streams])
    speaker = torch.tensor([float(frames), -1.0]) if voice else None
    prompt = tts_prompt(text, tokenizer, VOCABULARY, speaker_aware=voice)
    return make_example(prompt, codes, VOCABULARY, layout, speaker)

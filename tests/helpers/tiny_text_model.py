"""A causal language model of a few thousand weights in the hub's format, which has learned some sentences by heart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<me>{% endif %}"


def byte_tokenizer(*, chat: bool) -> PreTrainedTokenizerFast:
    """A token a byte, and an end; without a padding token, as many published ones."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    if chat:
        made.chat_template = CHAT
    return made


def write_text_model(folder: Path, answers: Mapping[str, str], *, chat: bool = False, steps: int = 0) -> Path:
    """Write a model that has learned for ``steps`` how to go on from each key of ``answers``; with none it babbles."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(chat=chat)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    pairs = [(tokenizer(prompt).input_ids, tokenizer(answer).input_ids) for prompt, answer in answers.items()]
    for _ in range(steps):
        loss = torch.stack([_loss(model, *pair) for pair in pairs]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _loss(model: LlamaForCausalLM, prompt: list[int], answer: list[int]) -> torch.Tensor:
    labels = [-100] * len(prompt) + answer
    return model(input_ids=torch.tensor([prompt + answer]), labels=torch.tensor([labels])).loss

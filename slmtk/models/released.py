"""Checkpoints of arXiv 2506.12537's released scripts: their names of tensors and tokens, beside ours.

They number the new tokens in one order for multi-token and in another for next-token prediction; a `Vocabulary` has one
order for both. So rows of the embedding table are taken by the token's name, and what has no place here is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from string import ascii_lowercase

import torch
from torch import Tensor

from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import FormatError

HUMAN, ASSISTANT, SOSP, EOSP, PLACEHOLDER = "[Human]", "[Assistant]", "<sosp>", "<eosp>", "<|placeholder|>"
PAD = "<|speech_pad|>"
UNUSED = ("[ta]", "[ua]")
"""Tokens of the next-token models that no prompt uses."""

_CODE = re.compile(r"<([a-z])(\d+)>")
_HEAD = re.compile(r"speech_heads\.(\d+)\.head\.(weight|bias)")
_SPEAKER = {"spk_emb_proj.0": "speaker.fc1", "spk_emb_proj.2": "speaker.fc2"}


def code_token(stream: int, code: int) -> str:
    """Name of a code, "<a0>": the letter says the stream.

    Raises:
        FormatError: there are more streams than letters.
    """
    if stream >= len(ascii_lowercase):
        raise FormatError(f"stream {stream} has no letter; the released names go from a to z")
    return f"<{ascii_lowercase[stream]}{code}>"


def is_speech_token(name: str) -> bool:
    """Whether the released scripts added the token ``name`` to the backbone's tokenizer."""
    return name in (HUMAN, ASSISTANT, SOSP, EOSP, PLACEHOLDER, PAD, *UNUSED) or bool(_CODE.fullmatch(name))


def stream_sizes(names: Collection[str]) -> tuple[int, ...]:
    """Codes of each stream that the token ``names`` hold: (1024, 1024, 1024) for <a0> .. <c1023>.

    Raises:
        FormatError: the letters do not go from a on, or numbers are missing.
    """
    found: dict[str, set[int]] = {}
    for match in filter(None, map(_CODE.fullmatch, names)):
        found.setdefault(match[1], set()).add(int(match[2]))
    letters = sorted(found)
    if "".join(letters) != ascii_lowercase[: len(letters)]:
        raise FormatError(f"codes are named with the letters {', '.join(letters)}; expected a, b, c and so on")
    for letter in letters:
        if found[letter] != set(range(len(found[letter]))):
            raise FormatError(f"of the codes <{letter}...> some are missing: {len(found[letter])} names, not from 0 on")
    return tuple(len(found[letter]) for letter in letters)


def released_tokens(text_size: int, sizes: Sequence[int], *, next_token: bool) -> dict[str, int]:
    """The released numbering, for a checkpoint without its tokenizer.

    Args:
        text_size: ids of the backbone's tokenizer; the new ones follow.
        sizes: codes of each stream.
        next_token: the order of the next-token models, else that of the multi-token models.

    Returns:
        names of the new tokens and their ids.
    """
    codes = [code_token(stream, code) for stream, size in enumerate(sizes) for code in range(size)]
    if next_token:
        names = [*codes, SOSP, EOSP, HUMAN, ASSISTANT, PLACEHOLDER, *UNUSED]
    else:
        names = [HUMAN, ASSISTANT, SOSP, PLACEHOLDER, *codes, EOSP, PAD]
    return {name: text_size + place for place, name in enumerate(names)}


def source_rows(tokens: Mapping[str, int], vocabulary: Vocabulary) -> list[int | None]:
    """Return, for every id of ``vocabulary``, the row of the released table; None where that has no such token.

    A next-token model has no ``<|speech_pad|>`` and a sequence of it never shows ours. But the softmax runs over all
    rows: the pad takes the row of an unused token, which the model has learnt never to choose.

    Raises:
        FormatError: a token that every such model has is missing.
    """
    sizes = vocabulary.spec.codebook_sizes
    codes = [code_token(stream, code) for stream, size in enumerate(sizes) for code in range(size)]
    needed = [HUMAN, ASSISTANT, SOSP, PLACEHOLDER, *codes, EOSP]
    missing = [name for name in needed if name not in tokens]
    if missing:
        raise FormatError(
            f"the checkpoint's tokenizer lacks {len(missing)} of the {len(needed)} tokens of speech (first: "
            f"{missing[0]}); is it one that the released training scripts saved, with codes of {vocabulary.spec.name}?"
        )
    pad = next((tokens[name] for name in (PAD, *UNUSED) if name in tokens), None)
    return [*range(vocabulary.text_size), *(tokens[name] for name in needed), pad]


def take_rows(table: Tensor, rows: Sequence[int | None]) -> Tensor:
    """Rows of ``table`` in a new order: float [V', D] -> float [V, D]; for None the mean of those that are taken.

    Raises:
        FormatError: the table has too few rows.
    """
    known = [row for row in rows if row is not None]
    if max(known) >= len(table):
        raise FormatError(
            f"the checkpoint's embedding table has {len(table)} rows, its tokens go up to id {max(known)}; tokenizer "
            "and weights do not belong together"
        )
    picked = table[torch.tensor([known[0] if row is None else row for row in rows])]
    empty = [place for place, row in enumerate(rows) if row is None]
    if empty:
        picked[empty] = table[torch.tensor(known)].float().mean(0).to(table.dtype)
    return picked


def our_name(name: str) -> str | None:
    """Name of the released tensor ``name`` in a `SpeechLM`; None for what is computed anew.

    Raises:
        FormatError: there is no such tensor here.
    """
    plain = name.removeprefix("module.").removeprefix("lm_model.")
    if plain.endswith("rotary_emb.inv_freq"):
        return None
    if plain.startswith("model.") or plain == "lm_head.weight":
        return f"backbone.{plain}"
    if match := _HEAD.fullmatch(plain):
        return f"heads.{match[1]}.{match[2]}"
    layer, _, kind = plain.rpartition(".")
    if layer in _SPEAKER and kind in ("weight", "bias"):
        return f"{_SPEAKER[layer]}.{kind}"
    raise FormatError(
        f"tensor {name} is not known; expected lm_model.* or model.* (the backbone), speech_heads.N.head.weight and "
        ".bias (linear heads), spk_emb_proj.0 and .2 (the speaker's projection)"
    )

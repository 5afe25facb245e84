"""A small text tokenizer of a data set's own: its words, not single bytes, become tokens. Codes + text -> dataset.

A template of a prompt is some 70 bytes, so that for a model trained from scratch most positions would be the same
letters in every row. Byte pairs merged on the data's own text make them about 15 tokens; any other text still works,
byte by byte.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from slmtk.data.prompts import BEHIND_SPEECH, SPEAKER_FOLLOWS, SPEECH_FOLLOWS
from slmtk.data.text_ids import SPECIAL_TOKENS
from slmtk.data.text_tokenizer import HubTokenizer
from slmtk.errors import ConfigError

NUM_BYTES = 256
_TEMPLATES = (": Read this sentence:", SPEAKER_FOLLOWS, ".\n ", ":", " " + SPEECH_FOLLOWS, BEHIND_SPEECH)


def parse_bpe(name: str) -> int | None:
    """Return N of "bpe:N", None if ``name`` is another kind of tokenizer.

    Raises:
        ConfigError: N is not a number of tokens that can be trained.
    """
    match = re.fullmatch(r"bpe:(\d+)", name)
    if not match:
        return None
    size = int(match.group(1))
    smallest = NUM_BYTES + len(SPECIAL_TOKENS)
    if size <= smallest:
        raise ConfigError(
            f"--tokenizer {name}: {smallest} tokens are bytes and controls; use more, for example bpe:512"
        )
    return size


def train_bpe(texts: Iterable[str], size: int) -> HubTokenizer:
    """Merge byte pairs on ``texts`` and the templates until there are ``size`` tokens, or nothing more to merge.

    The same texts in the same order give the same tokenizer. Source of the method: GPT-2's byte-level BPE, by the
    tokenizers library.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Every row brings the templates along, so their words count as often as the data's.
    lines = (line for text in texts for line in (f" {text}", *_TEMPLATES))
    backend.train_from_iterator(lines, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", bos_token="<|im_start|>")
    with tempfile.TemporaryDirectory() as folder:
        fast.save_pretrained(folder)
        return HubTokenizer(str(Path(folder)), name=f"bpe:{size}")

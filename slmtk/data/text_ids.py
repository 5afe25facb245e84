"""Text -> tokens of a dataset: a saved tokenizer's file, special tokens, what text and ids must be; for all kinds."""

from __future__ import annotations

from collections.abc import Sequence

from slmtk.errors import FormatError

FILE_NAME = "slmtk_tokenizer.json"
FORMAT = 1
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Of tokenizers that are made here, in the order of their ids."""


def check_unicode(text: str) -> None:
    """Refuse text with half of a surrogate pair.

    Raises:
        FormatError: that.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError(f"text {text!r} holds a lone surrogate at character {error.start}: not Unicode") from error


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Refuse ids that are none of the text's.

    Raises:
        FormatError: that.
    """
    for number in ids:
        if not 0 <= number < vocab_size:
            raise FormatError(f"{number} is no text token; the tokenizer's ids are 0 to {vocab_size - 1}")

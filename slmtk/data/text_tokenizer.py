"""Text <-> text tokens: the backbone's own tokenizer or raw bytes; text never turns into a control token."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from slmtk.config import write_json
from slmtk.data.phonemes import load_phonemes
from slmtk.data.text_ids import FILE_NAME, FORMAT, check_ids, check_unicode
from slmtk.errors import ConfigError, FormatError, first_line


class TextTokenizer(Protocol):
    """What prompts need of a text tokenizer."""

    @property
    def name(self) -> str:
        """ "bytes", or the hub id or the name of the folder it came from."""

    @property
    def vocab_size(self) -> int:
        """All ids are 0 .. vocab_size - 1, the special ones included."""

    @property
    def bos_id(self) -> int:
        """Goes in front of a prompt."""

    @property
    def eos_id(self) -> int:
        """Goes behind it."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain ``text``: nothing is added in front or behind and no special token comes out of it.

        Raises:
            FormatError: ``text`` is not Unicode text (a lone surrogate).
        """

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``, special tokens left out.

        Raises:
            FormatError: an id is not a text id.
        """

    def save(self, folder: Path) -> None:
        """Write to ``folder`` what `load_text_tokenizer` needs."""


class ByteTokenizer:
    """One token per UTF-8 byte after NFC; three special ids behind the 256 bytes. No download, any language."""

    name = "bytes"
    vocab_size = 259
    eos_id = 256  # <|endoftext|>
    bos_id = 257  # <|im_start|>; 258 is <|im_end|>, kept so that ids equal those of the released tokenizers' order

    def encode(self, text: str) -> list[int]:
        """Ids 0 .. 255, one a byte.

        Raises:
            FormatError: ``text`` holds a lone surrogate.
        """
        check_unicode(text)
        return list(unicodedata.normalize("NFC", text).encode("utf-8"))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the bytes; bytes that are not UTF-8 become U+FFFD.

        Raises:
            FormatError: an id is not in 0 .. 258.
        """
        check_ids(ids, self.vocab_size)
        return bytes(number for number in ids if number < 256).decode("utf-8", errors="replace")

    def save(self, folder: Path) -> None:
        """Write the one file that says "bytes"."""
        write_json(folder / FILE_NAME, {"format": FORMAT, "kind": "bytes", "name": self.name})


class HubTokenizer:
    """A transformers tokenizer, of a backbone on the hub or in a local folder, that reads text as plain text only.

    Attributes:
        name: the hub id, or the name of the folder (without its path), that it was first loaded from.
        vocab_size: its number of ids; the codes' ids begin there (embedding rows beyond it are not used).
        bos_id: ``<|im_start|>`` if there is one, else its bos, else its eos.
        eos_id: its eos.
    """

    def __init__(self, source: str, *, name: str | None = None) -> None:
        """Load from ``source``, a hub id or a local folder.

        Raises:
            ConfigError: there is no tokenizer at ``source``, or it has no end-of-text token.
        """
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no tokenizer at {source!r} ({first_line(error)}); expected 'bytes', a folder with "
                "tokenizer.json, or a model id of the Hugging Face hub that can be reached from here"
            ) from error
        # A dataset is published: a folder's place on this machine does not belong in it.
        self.name = name or (Path(source).resolve().name if Path(source).is_dir() else source)
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        self.vocab_size = max(len(self._tokenizer), 1 + max(vocabulary.values()))
        eos = self._tokenizer.eos_token_id
        if eos is None:
            raise ConfigError(f"tokenizer {self.name!r} has no end-of-text token (eos_token); a model needs one to end")
        self.eos_id = int(eos)
        bos = self._tokenizer.bos_token_id
        self.bos_id = int(vocabulary.get("<|im_start|>", eos if bos is None else bos))
        self._control = self._control_tokens()
        self._plain = self._plain_backend()

    def _control_tokens(self) -> dict[int, str]:
        """Ids that text must never give, with their strings; "unknown" is not one, text may well give that."""
        tokens = {int(number): str(token) for token, number in self._tokenizer.get_added_vocab().items()}
        tokens.update(zip(self._tokenizer.all_special_ids, self._tokenizer.all_special_tokens, strict=True))
        unknown = self._tokenizer.unk_token_id
        if unknown not in (self.bos_id, self.eos_id):
            tokens.pop(unknown, None)
        return tokens

    def _plain_backend(self) -> Any:
        """Copy of a fast tokenizer that knows no added tokens: split_special_tokens spares those not "special"."""
        if not self._tokenizer.is_fast:
            return None
        from tokenizers import Tokenizer

        description = json.loads(self._tokenizer.backend_tokenizer.to_str())
        description.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
        return Tokenizer.from_str(json.dumps(description))

    def _encode_whole(self, text: str) -> list[int]:
        if self._plain is not None:
            return list(self._plain.encode(text, add_special_tokens=False).ids)
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, truncation=False)
        return [int(number) for number in encoded["input_ids"]]

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; a control string in it is spelled out.

        Raises:
            FormatError: ``text`` holds a lone surrogate, or a control string in it cannot be spelled.
        """
        check_unicode(text)
        ids = self._encode_whole(text)
        if not self._control.keys() & set(ids):
            return ids
        # The model's own vocabulary has the string as one piece: cut it, so that its parts are encoded.
        strings = sorted((re.escape(token) for token in self._control.values() if len(token) > 1), key=len)
        cuts = [0, *(match.start() + 1 for match in re.finditer("|".join(reversed(strings)), text)), len(text)]
        ids = [number for cut, end in pairwise(cuts) for number in self._encode_whole(text[cut:end])]
        if self._control.keys() & set(ids):
            raise FormatError(f"tokenizer {self.name!r} reads a control token out of the text {text!r}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``, special tokens left out, spaces as they are.

        Raises:
            FormatError: an id is not one of the tokenizer's.
        """
        check_ids(ids, self.vocab_size)
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def save(self, folder: Path) -> None:
        """Write the tokenizer's own files and the one that says where it came from."""
        folder.mkdir(parents=True, exist_ok=True)
        self._tokenizer.save_pretrained(str(folder))
        write_json(folder / FILE_NAME, {"format": FORMAT, "kind": "hub", "name": self.name})


def load_text_tokenizer(name_or_folder: str | Path) -> TextTokenizer:
    """Return the tokenizer "bytes", the one saved in a folder, or the one of a hub id.

    Raises:
        ConfigError: there is no tokenizer of that name.
        FormatError: the folder's slmtk_tokenizer.json is damaged or of a later version.
    """
    if name_or_folder == "bytes":
        return ByteTokenizer()
    path = Path(name_or_folder) / FILE_NAME
    if not path.is_file():
        return HubTokenizer(str(name_or_folder))
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        version, kind, name = saved["format"], saved["kind"], saved["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is not a saved tokenizer's description ({error!r})") from error
    if version != FORMAT or kind not in ("bytes", "hub", "phonemes"):
        raise FormatError(
            f"{path} is of format {version!r}, kind {kind!r}; this slmtk reads format {FORMAT}, bytes, hub or phonemes"
        )
    if kind == "phonemes":
        return load_phonemes(saved, path)
    return ByteTokenizer() if kind == "bytes" else HubTokenizer(str(name_or_folder), name=str(name))


_PROBES = (
    "The quick brown fox jumps over 12,345 lazy dogs; don't they?",
    "ÄÖÜ été 東京 Привет \u0646\u0639\u0645",
    "  two spaces\nand\ttabs",
)


def tokenizer_differences(ours: TextTokenizer, theirs: TextTokenizer) -> list[str]:
    """Lines "what: ours, theirs" if the two give different ids; empty if a model of one reads the other's ids.

    Compared are the number of ids, bos, eos and the ids of a few texts in several scripts.
    """
    pairs: dict[str, tuple[object, object]] = {
        "ids": (ours.vocab_size, theirs.vocab_size),
        "bos": (ours.bos_id, theirs.bos_id),
        "eos": (ours.eos_id, theirs.eos_id),
    }
    for text in _PROBES:
        pairs[f"ids of {text!r}"] = (ours.encode(text), theirs.encode(text))
    return [f"{what}: {mine}, {others}" for what, (mine, others) in pairs.items() if mine != others]

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from slmtk.data.text_tokenizer import ByteTokenizer, HubTokenizer, load_text_tokenizer
from slmtk.errors import ConfigError, FormatError

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SENTENCES = ["Read this sentence: the cat sat on the mat. The speech is: the dog <| <| <|"] * 5


def bpe(folder: Path, *, special: list[str] = SPECIAL, **names: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer like Qwen2.5's, with one added token that is not "special"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **(names or {"eos_token": "<|endoftext|>"}))
    fast.add_tokens([AddedToken("<eosp>", special=False)])
    fast.save_pretrained(str(folder))
    return fast


def test_bytes_are_the_bytes_of_the_composed_text():
    assert ByteTokenizer().encode("aé") == [97, 0xC3, 0xA9]
    assert ByteTokenizer().encode("e\u0301") == [0xC3, 0xA9]  # e + combining accent becomes é
    assert ByteTokenizer().decode([257, 97, 0xC3, 0xA9, 256]) == "aé"


def test_control_strings_stay_bytes():
    text = "<|im_start|><eosp>[Assistant]:"
    assert ByteTokenizer().encode(text) == list(text.encode())


@pytest.mark.parametrize("ids", [[259], [-1]])
def test_decoding_a_code_as_text_is_refused(ids: list[int]):
    with pytest.raises(FormatError, match="0 to 258"):
        ByteTokenizer().decode(ids)


def test_a_lone_surrogate_is_refused(tmp_path: Path):
    bpe(tmp_path)
    for tokenizer in (ByteTokenizer(), HubTokenizer(str(tmp_path))):
        with pytest.raises(FormatError, match="surrogate at character 1"):
            tokenizer.encode("a\ud800")


def test_plain_text_gets_the_ids_of_the_backbones_tokenizer(tmp_path: Path):
    fast = bpe(tmp_path)
    tokenizer = load_text_tokenizer(str(tmp_path))
    for text in ("the cat sat on the mat", " The speech is: ", "naïve [Human] 你好\n\n", ""):
        assert tokenizer.encode(text) == fast(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("the cat sat")) < len("the cat sat")  # merges are in use


@pytest.mark.parametrize("control", [*SPECIAL, "<eosp>"])
def test_control_strings_in_text_are_spelled_out(tmp_path: Path, control: str):
    fast = bpe(tmp_path)
    tokenizer = HubTokenizer(str(tmp_path))
    number = fast.convert_tokens_to_ids(control)
    assert fast(control)["input_ids"] == [number]  # the backbone's own way would let it through
    ids = tokenizer.encode(f"say {control} now")
    assert number not in ids
    assert tokenizer.decode(ids) == f"say {control} now"


def test_merges_run_on_inside_a_spelled_out_control_string(tmp_path: Path):
    fast = bpe(tmp_path)
    ids = HubTokenizer(str(tmp_path)).encode("<|im_start|>")
    assert fast.convert_ids_to_tokens(ids)[:3] == ["<|", "i", "m"]


def test_a_control_string_that_is_a_piece_of_the_vocabulary_is_cut(tmp_path: Path):
    letters = {letter: place for place, letter in enumerate(["[UNK]", *"<s>/ab"])}
    pieces = Tokenizer(models.WordPiece({**letters, "##s": 6, "##>": 7, "<s>": 8, "</s>": 9}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"unk_token": "[UNK]", "bos_token": "<s>", "eos_token": "</s>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=pieces, **names)
    fast.save_pretrained(str(tmp_path))
    tokenizer = HubTokenizer(str(tmp_path))
    assert (tokenizer.bos_id, tokenizer.eos_id) == (8, 9)
    ids = tokenizer.encode("a <s> b")
    assert 8 not in ids
    assert not {8, 9} & set(tokenizer.encode("<s> </s> " * 5000))
    assert ids[0] == fast.convert_tokens_to_ids("a")
    assert fast.unk_token_id in tokenizer.encode("zzz")  # text may well be unknown


def test_bos_is_im_start_then_bos_then_eos(tmp_path: Path):
    fast = bpe(tmp_path / "qwen")
    assert HubTokenizer(str(tmp_path / "qwen")).bos_id == fast.convert_tokens_to_ids("<|im_start|>")
    fast = bpe(tmp_path / "llama", special=["<s>", "</s>"], bos_token="<s>", eos_token="</s>")
    assert HubTokenizer(str(tmp_path / "llama")).bos_id == fast.convert_tokens_to_ids("<s>")
    fast = bpe(tmp_path / "gpt", special=["<|endoftext|>"])
    assert HubTokenizer(str(tmp_path / "gpt")).bos_id == fast.convert_tokens_to_ids("<|endoftext|>")


def test_vocabulary_size_is_the_length_of_the_tokenizer(tmp_path: Path):
    fast = bpe(tmp_path)
    assert HubTokenizer(str(tmp_path)).vocab_size == len(fast) == 1 + max(fast.get_vocab().values())


def test_a_tokenizer_without_end_is_refused(tmp_path: Path):
    bpe(tmp_path, bos_token="<|im_start|>")
    with pytest.raises(ConfigError, match="end-of-text"):
        HubTokenizer(str(tmp_path))


@pytest.mark.parametrize("kind", ["bytes", "hub"])
def test_a_saved_tokenizer_loads_back_the_same(tmp_path: Path, kind: str):
    if kind == "hub":
        bpe(tmp_path / "source")
    first = load_text_tokenizer("bytes" if kind == "bytes" else str(tmp_path / "source"))
    first.save(tmp_path / "saved")
    again = load_text_tokenizer(tmp_path / "saved")
    assert type(again) is type(first)
    for name in ("name", "vocab_size", "bos_id", "eos_id"):
        assert getattr(again, name) == getattr(first, name)
    assert again.encode("the cat <eosp>") == first.encode("the cat <eosp>")


def test_no_path_of_this_machine_is_saved(tmp_path: Path):
    bpe(tmp_path / "source")
    load_text_tokenizer(str(tmp_path / "source")).save(tmp_path / "saved")
    for path in (tmp_path / "saved").iterdir():
        assert str(tmp_path) not in path.read_text()


def test_an_unknown_name_and_a_damaged_folder_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no tokenizer at"):
        load_text_tokenizer(str(tmp_path))
    (tmp_path / "slmtk_tokenizer.json").write_text('{"format": 2, "kind": "bytes", "name": "bytes"}')
    with pytest.raises(FormatError, match="format 2"):
        load_text_tokenizer(tmp_path)

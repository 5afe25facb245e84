import pytest

from slmtk.data.bpe import parse_bpe, train_bpe
from slmtk.data.prompts import tts_prompt
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError
from slmtk.spec import CodecSpec, Stream

TEXTS = ["Seven red camels dance today", "Two silver horses return tonight"] * 20


def test_words_and_template_are_single_tokens_and_prompts_get_five_times_shorter():
    tokenizer = train_bpe(TEXTS, 512)
    assert len(tokenizer.encode(" silver horses dance")) == 3
    spec = CodecSpec("small", 16_000, 200, (Stream("x", 4),))
    lengths = [
        tts_prompt(TEXTS[0], t, Vocabulary(t.vocab_size, spec), speaker_aware=True).num_words
        for t in (tokenizer, load_text_tokenizer("bytes"))
    ]
    assert lengths[0] * 3 < lengths[1]


@pytest.mark.parametrize("text", ["Zebra", " été, 東京!", "<|im_start|> [Human] <eosp>", "a\n\n b"])
def test_text_it_was_not_made_for_survives_and_gives_no_control_token(text):
    tokenizer = train_bpe(TEXTS, 400)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not {tokenizer.bos_id, tokenizer.eos_id} & set(ids)


def test_the_same_texts_give_the_same_tokenizer_and_saving_keeps_it(tmp_path):
    first, second = train_bpe(TEXTS, 400), train_bpe(TEXTS, 400)
    first.save(tmp_path / "a")
    second.save(tmp_path / "b")
    for name in ("tokenizer.json", "slmtk_tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = load_text_tokenizer(tmp_path / "a")
    assert (loaded.name, loaded.vocab_size) == ("bpe:400", first.vocab_size)
    assert loaded.encode(TEXTS[0]) == first.encode(TEXTS[0])


def test_only_a_size_beyond_the_bytes_is_a_size():
    assert parse_bpe("bpe:512") == 512
    assert parse_bpe("bytes") is None
    assert parse_bpe("Qwen/Qwen2.5-0.5B") is None
    with pytest.raises(ConfigError, match="259 tokens are bytes"):
        parse_bpe("bpe:100")

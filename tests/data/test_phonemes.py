import json
import sys

import pytest

from slmtk.data.phonemes import SPACE, PhonemeTokenizer, find_phones, parse_phonemes
from slmtk.data.prompts import tts_prompt
from slmtk.data.text_ids import FILE_NAME
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError, MissingDependencyError
from slmtk.spec import CodecSpec, Stream
from slmtk.synthesis import espeak

TEXTS = ["The quick brown fox jumps over a lazy dog.", "She sells 21 sea shells, doesn't she?"]


@pytest.fixture(scope="module")
def tokenizer():
    return find_phones(TEXTS, "en-us")


def test_what_sounds_alike_is_alike_and_numbers_are_spoken_out(tokenizer):
    assert tokenizer.encode("The sea") == tokenizer.encode("the see")
    assert tokenizer.encode("7 shells") == tokenizer.encode("seven shells")
    assert tokenizer.encode("The sea") != tokenizer.encode("the saw")


def test_phones_are_whole_with_their_stress_and_words_are_apart(tokenizer):
    assert tokenizer.decode(tokenizer.encode("lazy dog")) == "lˈeɪzi dˈɑːɡ"
    assert len(tokenizer.encode("lazy dog")) == len(["l", "ˈeɪ", "z", "i", SPACE, "d", "ˈɑː", "ɡ"])


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("a fox, a dog; over.", ",;."),
        ("sea - over -- dog", "--"),
        ("sea-shells", ""),
        ("12.5 foxes", ""),
        ("dog?!", "!"),
    ],
)
def test_marks_between_words_are_kept_and_those_within_are_spoken(tokenizer, text, marks):
    assert "".join(sign for sign in tokenizer.decode(tokenizer.encode(text)) if sign in ",;.?!-:") == marks


def test_prompts_are_one_token_a_template(tokenizer):
    vocabulary = Vocabulary(tokenizer.vocab_size, CodecSpec("small", 16_000, 200, (Stream("x", 4),)))
    prompts = [
        tts_prompt(text, tokenizer, vocabulary, speaker_aware=True).num_words - len(tokenizer.encode(text))
        for text in TEXTS
    ]
    assert prompts[0] == prompts[1] < 15


def test_a_phone_it_has_no_token_for_loses_its_stress_or_is_spelt(tokenizer):
    plain = PhonemeTokenizer("en-us", ["l", "eɪ", "z", "i"])
    assert plain.decode(plain.encode("lazy")) == "leɪzi"
    spelt = PhonemeTokenizer("en-us", ["l", "e", "ɪ", "z", "i"])
    assert spelt.decode(spelt.encode("lazy")) == "leɪzi"
    assert tokenizer.encode("") == []


def test_no_text_gives_a_control_token(tokenizer):
    for text in ("<|endoftext|>", "<|im_start|> fox <|im_end|>", "…", "[]"):
        assert not {0, 1, 2} & set(tokenizer.encode(text))


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = load_text_tokenizer(tmp_path)
    assert (loaded.name, loaded.vocab_size) == ("phonemes:en-us", tokenizer.vocab_size)
    assert loaded.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
    saved = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps({**saved, "phones": "abc"}))
    with pytest.raises(FormatError, match="names no language and list of phones"):
        load_text_tokenizer(tmp_path)


def test_other_languages_and_other_names(tokenizer):
    german = find_phones(["Zwölf Boxkämpfer jagen Viktor"], "de")
    assert "ç" not in tokenizer.phones
    assert german.decode(german.encode("zwölf")) == "tsvˈœlf"
    assert [parse_phonemes(name) for name in ("phonemes", "phonemes:de", "bpe:512", "phonemesque")] == [
        "en-us",
        "de",
        None,
        None,
    ]
    with pytest.raises(ConfigError, match="no language 'klingon-x'"):
        find_phones(TEXTS, "klingon-x")
    with pytest.raises(ConfigError, match="no text to be spoken"):
        find_phones([], "en-us")


def test_without_espeak_a_line_says_what_to_install(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak._paths.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"phonemes need .* pip install 'slmtk\[embedded\]'"):
        tokenizer.encode("words that nobody has asked for before")
    espeak._paths.cache_clear()


def test_ids_that_are_not_the_texts_are_refused(tokenizer):
    with pytest.raises(FormatError):
        tokenizer.decode([tokenizer.vocab_size])
    with pytest.raises(FormatError, match="surrogate"):
        tokenizer.encode("\ud800")

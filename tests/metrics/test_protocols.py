"""Protocols: what each fixes, and the numbers that it makes of the same transcripts, worked out by hand."""

from __future__ import annotations

import dataclasses
import string

import jiwer
import pytest

from slmtk.errors import ConfigError
from slmtk.metrics.normalize import NORMALIZERS, get_normalizer
from slmtk.metrics.protocols import PROTOCOLS, Protocol, get_protocol
from slmtk.metrics.wer import align_characters, align_texts, corpus_counts, mean_rate

PAIRS = (  # what was to be said, what was heard
    ("The primary coil has fifty turns.", " The primary coil has 50 turns."),
    ("Mr. Brown said it's well-known.", "Mister Brown said it’s well known."),
    ("I don't know.", "I don't know"),
    ("Good morning.", ""),
)


def errors_and_words(protocol: Protocol, pairs=PAIRS) -> list[tuple[int, int]]:
    counts = counted(protocol, pairs)
    return [(count.errors, count.reference_length) for count in counts]


def counted(protocol: Protocol, pairs=PAIRS):
    normalize = get_normalizer(protocol.normalizer)
    return [align_texts(normalize(meant), normalize(heard)) for meant, heard in pairs]


def rate(protocol: Protocol, pairs=PAIRS) -> float:
    counts = counted(protocol, pairs)
    return corpus_counts(counts).rate if protocol.aggregation == "corpus" else mean_rate(counts)


def test_seed_tts_takes_the_mean_and_knows_neither_numbers_nor_titles():
    # fifty/50; mr/mister, it's/its, wellknown/well + known inserted; nothing; both words missing.
    assert errors_and_words(get_protocol("seed-tts")) == [(1, 6), (4, 5), (0, 3), (2, 2)]
    assert rate(get_protocol("seed-tts")) == pytest.approx((1 / 6 + 4 / 5 + 0 + 1) / 4)


def test_f5_takes_the_mean_and_drops_apostrophes():
    assert errors_and_words(get_protocol("f5")) == [(1, 6), (3, 5), (0, 3), (2, 2)]
    assert rate(get_protocol("f5")) == pytest.approx((1 / 6 + 3 / 5 + 0 + 1) / 4)


@pytest.mark.parametrize("name", ["whisper-norm", "paper"])
def test_whispers_normaliser_makes_numbers_and_titles_equal_and_the_sum_is_taken(name):
    # it's = it is, but the curly apostrophe of it’s is unknown to it: "it s"; don't = do not.
    assert errors_and_words(get_protocol(name)) == [(0, 6), (1, 7), (0, 4), (2, 2)]
    assert rate(get_protocol(name)) == pytest.approx(3 / 19)


def test_seed_tts_zh_counts_characters():
    pytest.importorskip("zhconv")
    pairs = (("你好，世界。", "你号世界"), ("我们的软件", "我們的軟體"), ("三十五", "35"), ("好", ""))
    protocol = get_protocol("seed-tts-zh")
    # One of four is another; traditional characters are no error; three characters became two others; one is missing.
    assert errors_and_words(protocol, pairs) == [(1, 4), (0, 5), (3, 3), (1, 1)]
    assert rate(protocol, pairs) == pytest.approx((1 / 4 + 0 + 1 + 1) / 4)


def test_seed_tts_arithmetic_is_the_published_one():
    # run_wer.py: jiwer's rate of each utterance; average_wer.py: numpy's mean of the rates, in percent to 3 digits.
    def published(meant: str, heard: str) -> float:
        for mark in string.punctuation.replace("'", "") + "’":
            meant, heard = meant.replace(mark, ""), heard.replace(mark, "")
        return jiwer.process_words(meant.lower(), heard.lower()).wer

    expected = round(sum(published(*pair) for pair in PAIRS) / len(PAIRS) * 100, 3)
    assert round(rate(get_protocol("seed-tts")) * 100, 3) == expected == 49.167


def test_versa_arithmetic_is_the_published_one():
    # whisper_wer.py: "whisper_basic" cleaner, counts of edits an utterance; scorer_shared.py sums them over utterances.
    normalize = get_normalizer("whisper-basic")
    texts = [(normalize(meant), normalize(heard)) for meant, heard in PAIRS]
    words = corpus_counts(align_texts(*pair) for pair in texts)
    # fifty/50; mr/mister; "it s well known", "i don t know" are equal; both words missing.
    assert (words.substitutions, words.deletions, words.insertions, words.hits) == (2, 2, 0, 15)
    letters = corpus_counts(align_characters(*pair) for pair in texts)
    # fifty/50: 2 replaced, 3 deleted; mr/mister: 4 inserted; "good morning": 12 deleted. Blanks count.
    assert (letters.substitutions, letters.deletions, letters.insertions) == (2, 15, 4)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_every_protocol_is_whole(protocol):
    assert protocol.normalizer in NORMALIZERS
    assert "" not in (protocol.recognizer, protocol.prompt, protocol.source)
    assert protocol.recognizer_revision is None or len(protocol.recognizer_revision) == 40
    assert get_protocol(protocol.name) is protocol


def test_what_a_protocol_fixes_changes_its_digest_and_is_changed_here_knowingly():
    assert {name: protocol.digest for name, protocol in PROTOCOLS.items()} == {
        "seed-tts": "c0febb944b06",
        "seed-tts-zh": "1215670de748",
        "f5": "6c98feba340f",
        "librispeech-hubert": "05b8e67359e3",
        "whisper-norm": "7240d682486e",
        "paper": "a90e1488993f",
    }


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Protocol)])
def test_every_field_is_in_the_digest(field):
    protocol = get_protocol("f5")
    other = {"aggregation": "corpus", "unit": "character"}.get(field, "other")
    assert dataclasses.replace(protocol, **{field: other}).digest != protocol.digest
    assert dataclasses.replace(protocol).digest == protocol.digest


def test_an_unknown_protocol_lists_the_known():
    known = "seed-tts, seed-tts-zh, f5, librispeech-hubert, whisper-norm, paper"
    with pytest.raises(ConfigError, match=f"no protocol 'seedtts'; available: {known}$"):
        get_protocol("seedtts")


@pytest.mark.parametrize(("field", "value"), [("aggregation", "median"), ("unit", "phone")])
def test_a_protocol_with_an_unknown_way_of_counting_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"protocol 'f5': {field} is '{value}'; expected "):
        dataclasses.replace(get_protocol("f5"), **{field: value})

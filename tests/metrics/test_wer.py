"""Error counts worked out by hand, and equal to jiwer's."""

from __future__ import annotations

import random

import jiwer
import pytest

from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.wer import (
    Counts,
    align,
    align_characters,
    align_texts,
    all_deleted,
    corpus_counts,
    mean_rate,
    text_units,
)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c d", "a b c d", Counts(hits=4)),
        ("a b c d", "a x c", Counts(substitutions=1, deletions=1, hits=2)),
        ("a b", "a b c c", Counts(insertions=2, hits=2)),
        ("a b c", "", Counts(deletions=3)),
        ("", "a b", Counts(insertions=2)),
        ("", "", Counts()),
    ],
)
def test_edits_are_counted_as_by_hand(reference, hypothesis, expected):
    assert align(reference.split(), hypothesis.split()) == expected


def test_rates_are_errors_over_reference_words():
    assert Counts(1, 1, 2, 2).rate == 1.0
    assert Counts(insertions=3, hits=1).rate == 3.0
    assert Counts().rate == 0.0
    assert Counts(insertions=2).rate == 1.0


def test_corpus_rate_weighs_words_and_mean_rate_weighs_utterances():
    utterances = [Counts(substitutions=1), Counts(hits=9)]
    assert corpus_counts(utterances).rate == pytest.approx(0.1)
    assert mean_rate(utterances) == pytest.approx(0.5)
    assert mean_rate([]) == 0.0


def test_a_reference_without_words_adds_its_insertions_to_the_corpus():
    assert corpus_counts([Counts(hits=4), align_texts("", "what now")]).rate == pytest.approx(0.5)


def test_characters_count_blanks_between_words():
    assert align_characters("ab c", "abc") == Counts(deletions=1, hits=3)


def test_nothing_said_deletes_every_word_and_character():
    assert all_deleted("go on") == (Counts(deletions=2), Counts(deletions=5))


def test_counts_equal_jiwers_on_random_texts():
    generator = random.Random(0)
    texts = [" ".join(generator.choices(["a", "b", "cc", "d"], k=generator.randint(1, 12))) for _ in range(400)]
    for reference, hypothesis in zip(texts[::2], texts[1::2], strict=True):
        words, characters = jiwer.process_words(reference, hypothesis), jiwer.process_characters(reference, hypothesis)
        for ours, theirs in (
            (align_texts(reference, hypothesis), words),
            (align_characters(reference, hypothesis), characters),
        ):
            assert ours == Counts(theirs.substitutions, theirs.deletions, theirs.insertions, theirs.hits)
    ours = corpus_counts(align_texts(r, h) for r, h in zip(texts[::2], texts[1::2], strict=True))
    assert ours.rate == pytest.approx(jiwer.wer(texts[::2], texts[1::2]))


def test_words_are_compared_whole_and_exactly():
    # Hashes of strings could collide, and rapidfuzz takes a string of one character for its number.
    assert align(["a", "b"], ["ab"]) == Counts(substitutions=1, deletions=1)
    assert align(["-1"], ["-2"]) == Counts(substitutions=1)


def test_units_are_words_or_characters_without_blanks():
    assert text_units("go on") == ["go", "on"]
    assert text_units("你 好 吗", "character") == text_units("你好吗", "character") == ["你", "好", "吗"]


def test_wer_and_cer_of_200_sentences_equal_jiwers_on_the_same_normalised_strings():
    generator = random.Random(5)
    words = ["Mr.", "doesn't", "like", "fifty-two", "colours,", "it's", "50%", "twenty", "one", "uh", "the", "a"]
    pairs = []
    for _ in range(200):
        reference = generator.choices(words, k=generator.randint(1, 15))
        hypothesis = [generator.choice([word, word, word, "", generator.choice(words)]) for word in reference]
        pairs.append((" ".join(reference), " ".join(hypothesis)))
    normalize = get_normalizer("whisper-english")
    normalized = [(normalize(reference), normalize(hypothesis)) for reference, hypothesis in pairs]
    references, hypotheses = map(list, zip(*[pair for pair in normalized if pair[0]], strict=True))  # jiwer needs one
    kept = list(zip(references, hypotheses, strict=True))
    assert len(kept) > 190
    assert corpus_counts(align_texts(*pair) for pair in kept).rate == jiwer.wer(references, hypotheses)
    assert corpus_counts(align_characters(*pair) for pair in kept).rate == jiwer.cer(references, hypotheses)
    assert [align_texts(*pair).rate for pair in kept] == [jiwer.wer(*pair) for pair in kept]

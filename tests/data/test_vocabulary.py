from __future__ import annotations

import dataclasses

import pytest

from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import FormatError
from slmtk.spec import CodecSpec, Stream

SPEC = CodecSpec("three", 16_000, 200, (Stream("a", 1024), Stream("b", 1024), Stream("c", 1024)), "decoupled")


def test_ids_are_those_of_the_released_multi_token_models():
    vocabulary = Vocabulary(259, SPEC)
    assert (vocabulary.human, vocabulary.assistant, vocabulary.sosp, vocabulary.placeholder) == (259, 260, 261, 262)
    assert [vocabulary.code_offset(k) for k in range(3)] == [263, 1287, 2311]
    assert (vocabulary.eosp, vocabulary.pad, vocabulary.size) == (3335, 3336, 3337)


def test_streams_of_different_sizes_lie_end_to_end():
    spec = CodecSpec("odd", 16_000, 200, (Stream("a", 5), Stream("b", 2)))
    vocabulary = Vocabulary(10, spec)
    # 10..13 control, 14..18 stream a, 19..20 stream b, 21 <eosp>, 22 <|speech_pad|>
    assert [vocabulary.code_offset(k) for k in range(2)] == [14, 19]
    assert (vocabulary.eosp, vocabulary.pad, vocabulary.size) == (21, 22, 23)


def test_a_stream_that_is_not_there_has_no_offset():
    with pytest.raises(FormatError, match="streams 0 to 2; found 3"):
        Vocabulary(259, SPEC).code_offset(3)
    with pytest.raises(FormatError):
        Vocabulary(259, SPEC).code_offset(-1)


def test_to_dict_and_back_is_the_same():
    assert Vocabulary.from_dict(Vocabulary(259, SPEC).to_dict()) == Vocabulary(259, SPEC)


def test_another_numbering_is_refused():
    values = Vocabulary(259, SPEC).to_dict()
    values["control"] = {**values["control"], "<sosp>": 3331}
    with pytest.raises(FormatError, match="3331"):
        Vocabulary.from_dict(values)


def test_a_damaged_description_is_refused():
    with pytest.raises(FormatError, match="text_size"):
        Vocabulary.from_dict({"codec": SPEC.to_dict()})


def test_differences_name_text_size_and_codec():
    other = Vocabulary(300, dataclasses.replace(SPEC, frame_size=320))
    assert Vocabulary(259, SPEC).differences(Vocabulary(259, SPEC)) == []
    assert Vocabulary(259, SPEC).differences(other) == [
        "text_size: 259, 300",
        "codec frame_size: 200, 320",
        "codec frame_rate: 80.0, 50.0",
    ]

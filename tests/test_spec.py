"""CodecSpec and Utterance: rates worked out by hand, what they refuse, and the way to JSON and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmtk.errors import FormatError
from slmtk.spec import CodecSpec, Stream, Utterance, check_unique_ids

SPEC = CodecSpec(
    name="facodec-like",
    sample_rate=16_000,
    frame_size=200,
    streams=(
        Stream("content1", 1024, "content"),
        Stream("content2", 1024, "content"),
        Stream("prosody", 512, "prosody"),
    ),
    family="decoupled",
    speaker_dim=256,
    revision="v1",
    weights_sha256="ab" * 32,
)


def test_rates_follow_from_the_frame_size():
    assert SPEC.frame_rate == 80.0
    assert SPEC.num_codebooks == 3
    assert SPEC.codebook_sizes == (1024, 1024, 512)
    assert SPEC.bits_per_second == 80 * (10 + 10 + 9)


def test_a_frame_rate_need_not_be_whole():
    assert CodecSpec("mimi-like", 24_000, 1920, (Stream("a", 2048),)).frame_rate == 12.5


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (200, 1), (201, 2), (16_000, 80)])
def test_a_last_partial_frame_counts(samples, frames):
    assert SPEC.num_frames(samples) == frames


def test_a_spec_survives_json():
    assert CodecSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streams": ()}, "names its streams"),
        ({"streams": (Stream("a", 4), Stream("a", 4))}, "names its streams"),
        ({"streams": (Stream("a", 0),)}, "not positive"),
        ({"sample_rate": 0}, "not positive"),
        ({"frame_size": -1}, "not positive"),
        ({"speaker_dim": -1}, "not positive"),
        ({"family": "uncoupled"}, "family 'uncoupled'; expected one of coupled, semi-decoupled, decoupled"),
    ],
)
def test_values_that_do_not_belong_together_are_refused(change, message):
    values = {"name": "x", "sample_rate": 16_000, "frame_size": 320, "streams": (Stream("a", 4),), **change}
    with pytest.raises(FormatError, match=message):
        CodecSpec(**values)


@pytest.mark.parametrize("missing", ["name", "streams", "family", "weights_sha256"])
def test_a_description_without_a_key_is_refused_and_the_key_named(missing):
    values = {key: value for key, value in SPEC.to_dict().items() if key != missing}
    with pytest.raises(FormatError, match=f"not a codec's description .*'{missing}'"):
        CodecSpec.from_dict(values)


def test_differences_name_each_value_ours_then_theirs():
    values = SPEC.to_dict()
    other = CodecSpec.from_dict({**values, "revision": "v2", "speaker_dim": 0})
    assert SPEC.differences(other) == ["speaker_dim: 256, 0", "revision: 'v1', 'v2'"]
    assert SPEC.differences(SPEC) == []


def test_two_utterances_of_one_id_are_refused_and_both_files_named():
    one, two = Utterance("a", Path("x/a.wav")), Utterance("a", Path("y/a.wav"))
    with pytest.raises(FormatError, match=r"the id 'a': x/a.wav and y/a.wav"):
        check_unique_ids([one, Utterance("b", Path("x/b.wav")), two])

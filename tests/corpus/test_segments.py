"""Long recordings are cut where they are quiet, the same way whichever piece is read."""

from __future__ import annotations

import io
import math

import pytest
import torch

from slmtk import audio
from slmtk.corpus.segments import Piece, quietest, read_piece, split_long, whole
from slmtk.errors import AudioError
from slmtk.spec import Utterance
from tests.helpers.pausing import RATE, write_with_pauses


def pieces_of(seconds, max_seconds):
    long = Utterance("rec", None, "words", "ann", "en", {"dnsmos": 3.0})
    return split_long([long], [seconds], max_seconds)


def read_all(path, seconds, max_seconds, rate=RATE):
    utterances, _ = split_long([Utterance("rec", path)], [seconds], max_seconds)
    return [read_piece(utterance.locator, path, rate) for utterance in utterances]


def test_pieces_have_equal_nominal_lengths_of_at_most_four_fifths_of_the_limit():
    utterances, seconds = pieces_of(20.0, 10.0)
    # 20 / 8 = 2.5, so three of 6.67 s.
    assert [u.id for u in utterances] == [
        "rec@00000.000-00006.667",
        "rec@00006.667-00013.333",
        "rec@00013.333-00020.000",
    ]
    assert seconds == [pytest.approx(20 / 3)] * 3
    assert {(u.text, u.speaker, u.language, u.extra["dnsmos"]) for u in utterances} == {(None, "ann", "en", 3.0)}
    assert {whole(u).id for u in utterances} == {"rec"}


@pytest.mark.parametrize("seconds", [0.0, 10.0, math.inf])
def test_what_is_not_longer_or_has_no_known_length_stays_whole(seconds):
    (utterance,), found = pieces_of(seconds, 10.0)
    assert (utterance.id, utterance.text, found) == ("rec", "words", [seconds])


def test_pieces_sort_among_other_ids():
    utterances, seconds = split_long([Utterance(n, None) for n in ("a", "a-1", "b")], [9.0, 1.0, 2.0], 5.0)
    assert [u.id for u in utterances] == ["a-1", *(u.id for u in utterances[1:4]), "b"]
    assert seconds == [1.0, 3.0, 3.0, 3.0, 2.0]


def test_cuts_lie_in_the_pauses(tmp_path):
    # Nominal cuts of 20 s at 6.67 and 13.33 s, each free by 1 s; the pause at 9 s is out of reach.
    path = write_with_pauses(tmp_path / "a.wav", 20.0, [7.2, 9.0, 12.5])
    (first, one), (second, two), (third, three) = read_all(path, 20.0, 10.0)
    ends = [float(name.rpartition("-")[2]) for name in (first, second, third)]
    assert ends == [pytest.approx(7.2, abs=0.03), pytest.approx(12.5, abs=0.03), 20.0]
    assert [name.split("@")[1].split("-")[0] for name in (second, third)] == [
        name.rpartition("-")[2] for name in (first, second)
    ]
    torch.testing.assert_close(torch.cat([one, two, three]), audio.read(path)[0], rtol=0, atol=0)


def test_every_piece_is_within_the_limit_whatever_the_pauses(tmp_path):
    for number, (seconds, pauses) in enumerate([(10.1, [4.2]), (24.1, [5.1, 13.2]), (31.0, [8.7, 14.6])]):
        path = write_with_pauses(tmp_path / f"{number}.wav", seconds, pauses)
        lengths = [len(wav) / RATE for _, wav in read_all(path, seconds, 10.0)]
        assert sum(lengths) == pytest.approx(seconds)
        assert min(lengths) >= 3.0
        assert max(lengths) <= 10.0


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_neighbours_agree_on_their_cut_in_every_format(tmp_path, suffix):
    path = write_with_pauses(tmp_path / f"a.{suffix}", 12.0, [4.3, 8.1], rate=44_100, channels=2)
    seconds = audio.info(path).seconds
    names = [name.split("@")[1].split("-") for name, _ in read_all(path, seconds, 5.0)]
    assert [start for start, _ in names[1:]] == [stop for _, stop in names[:-1]]
    assert float(names[0][0]) == 0.0
    assert float(names[-1][1]) == pytest.approx(seconds, abs=1e-3)
    inside = io.BytesIO(path.read_bytes())
    piece = Piece(Utterance("rec", None), 1, 3, 0.5)
    (name, wav), (again, same) = (read_piece(piece, source, RATE) for source in (inside, path))
    assert name == again
    torch.testing.assert_close(wav, same, rtol=0, atol=0)


def test_of_equally_quiet_places_the_middle_is_taken():
    assert quietest(torch.zeros(1600), 16_000) == pytest.approx(800, abs=80)
    loud = torch.ones(16_000)
    loud[3200:4000] = 0  # 50 ms from 0.2 s on
    assert quietest(loud, 16_000) == 3600


def test_a_recording_that_breaks_off_fails_in_every_piece_that_meets_the_gap(tmp_path):
    path = write_with_pauses(tmp_path / "a.wav", 12.0, [])
    path.write_bytes(path.read_bytes()[:-RATE])  # half a second of 16-bit samples
    with pytest.raises(AudioError, match=r"lacks \d+ samples that its header promises") as caught:
        read_piece(Piece(Utterance("rec", path), 0, 3, 0.5), path, RATE)
    assert caught.value.kind == "truncated"


def test_a_span_is_what_the_whole_recording_has_there(tmp_path):
    path = write_with_pauses(tmp_path / "a.flac", 2.0, [], rate=8000, channels=2)
    wav, rate = audio.read_span(path, 3000, 9000)
    assert rate == 8000
    torch.testing.assert_close(wav, audio.read(path)[0][3000:9000], rtol=0, atol=0)
    with pytest.raises(AudioError, match="lacks 2000 samples"):
        audio.read_span(path, 15_000, 18_000)

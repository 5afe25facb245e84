"""Rules of each layout on choices worked out by hand: streams of 4, 3 and 5 codes."""

import pytest
import torch

from slmtk.layout import MISSING, Layout
from slmtk.models.decoding.grammar import make_grammar
from tests.helpers.small_models import VOCABULARY

INF = -torch.inf
END = (4, 3, 5)  # rows of <eosp>; <pad> is the next one


def grammar_of(kind, slots, **settings):
    grammar = make_grammar(Layout(kind, 3, **settings), VOCABULARY, slots)
    for slot in range(slots):
        grammar.start(slot, 0)
    return grammar


def close(grammar, rows, spoken=0):
    codes, ids, ended = grammar.close(torch.tensor(rows), torch.full((len(rows),), spoken))
    return codes.tolist(), ids.tolist(), ended.tolist()


def test_a_groups_frames_from_the_first_pad_on_are_missing_whatever_stands_in_them():
    grammar = grammar_of("grouped", 4, frames_per_step=3)
    x, y, z = (VOCABULARY.code_offset(stream) for stream in range(3))
    pad = VOCABULARY.pad
    rows = [
        [1, 2, 3, 0, 1, 2, 3, 2, 4],
        [1, 2, 3, 0, 4, 2, 3, 2, 4],  # y's <pad> in frame 2: x's code before it goes too, and all of frame 3
        [1, 2, 3, 0, 1, 2, 5, 2, 4],
        [1, 2, 3, 5, 1, 2, 5, 3, 4],  # an <eosp> behind pads ends the speech all the same
    ]
    codes, ids, ended = close(grammar, rows)
    m = MISSING
    assert codes[:3] == [rows[0], [1, 2, 3, m, m, m, m, m, m], [1, 2, 3, 0, 1, 2, m, m, m]]
    assert ids[0] == [x + 1, y + 2, z + 3, x, y + 1, z + 2, x + 3, y + 2, z + 4]
    assert ids[1] == [x + 1, y + 2, z + 3, *[pad] * 6]
    assert ended == [False, False, False, True]
    assert close(grammar, [rows[0]] * 4)[0] == [rows[0]] * 4  # the short way


def test_a_groups_shortest_length_counts_the_frames_that_are_kept():
    grammar = grammar_of("grouped", 2, frames_per_step=2)
    for slot in range(2):
        grammar.start(slot, 3)
    scores = torch.zeros(2, 6, 7)

    def may_end():
        restricted = grammar.restrict(scores, 0, torch.zeros(2))
        assert (restricted[:, [0, 1, 2, 3, 4, 5], [4, 3, 5, 4, 3, 5]] == restricted[:, :1, 4]).all()
        assert (restricted == 0).sum() >= restricted.numel() - 12
        return (restricted[:, 0, 4] == 0).tolist()

    assert may_end() == [False, False]
    close(grammar, [[0, 0, 0, 0, 0, 0], [0, 0, 0, 5, 0, 0]])
    assert may_end() == [False, False]  # two frames, one frame
    close(grammar, [[0, 0, 0, 5, 0, 0], [0, 0, 0, 5, 0, 0]])
    assert may_end() == [True, False]
    grammar.start(0, 3)
    close(grammar, [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    assert may_end() == [False, True]


def test_a_head_that_knows_of_a_pad_before_it_reads_pad_in_all_later_places():
    grammar = grammar_of("grouped", 2, frames_per_step=2)
    for _ in range(2):  # the second step begins anew
        picks = [[1, 1], [2, 2], [0, 0], [3, 5], [1, 1], [2, 2]]
        rows = [grammar.settle(torch.tensor(p)[:, None], h, torch.zeros(2))[:, 0].tolist() for h, p in enumerate(picks)]
        assert rows == [[1, 1], [2, 2], [0, 0], [3, 5], [1, 4], [2, 6]]


def test_interleaved_codes_come_from_the_stream_whose_turn_it_is_and_end_between_frames():
    grammar = grammar_of("interleaved", 4, order=(2, 0, 1))
    allowed = grammar.restrict(torch.zeros(4, 1, 13), 0, torch.tensor([0, 1, 2, 9]))[:, 0] == 0
    rows = [allowed[slot].nonzero()[:, 0].tolist() for slot in range(4)]
    assert rows == [[7, 8, 9, 10, 11, 12], [0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10, 11, 12]]
    grammar.start(3, 4)
    early = grammar.restrict(torch.zeros(4, 1, 13), 0, torch.tensor([9, 9, 9, 9]))[:, 0, 12]
    assert early.tolist() == [0, 0, 0, INF]
    assert grammar.restrict(torch.zeros(4, 1, 13), 0, torch.tensor([12] * 4))[3, 0, 12] == 0
    codes, ids, ended = grammar.close(torch.tensor([[8], [3], [5], [12]]), torch.tensor([3, 4, 5, 6]))
    assert codes[:3].tolist() == [[1], [3], [1]]
    assert ids[:, 0].tolist() == [VOCABULARY.first_code + row for row in (8, 3, 5, 12)]
    assert ended.tolist() == [False, False, False, True]


@pytest.mark.parametrize("at_once", [True, False])
def test_delayed_streams_begin_late_and_pay_what_they_owe(at_once):
    grammar = grammar_of("delayed", 1)
    x, y, z = (VOCABULARY.code_offset(stream) for stream in range(3))
    pad, m, seen = VOCABULARY.pad, MISSING, []
    for spoken, picks in enumerate([[1, 2, 3], [3, 1, 2], [END[0], 0, 4], [0, 0, 1], [0, 0, 0]]):
        step = torch.tensor([spoken])
        if at_once:
            rows = grammar.settle(torch.tensor([picks]), 0, step)
        else:
            rows = torch.cat([grammar.settle(torch.tensor([[p]]), h, step) for h, p in enumerate(picks)], dim=1)
        codes, ids, ended = grammar.close(rows, step)
        seen.append((codes[0].tolist(), ids[0].tolist(), ended.item()))
    assert seen == [
        ([1, m, m], [x + 1, pad, pad], False),
        ([3, 1, m], [x + 3, y + 1, pad], False),
        ([m, 0, 4], [pad, y, z + 4], False),  # x has ended after two frames
        ([m, m, 1], [pad, pad, z + 1], False),
        ([m, m, m], [pad, pad, pad], True),
    ]


def test_of_delayed_streams_the_first_alone_may_end_and_not_too_early():
    grammar = grammar_of("delayed", 2)
    grammar.start(1, 3)
    for first, heads in ((0, 3), (0, 1), (1, 1), (2, 1)):
        open_rows = grammar.restrict(torch.zeros(2, heads, 7), first, torch.tensor([2, 2])) == 0
        for place in range(heads):
            head = first + place
            assert open_rows[0, place].tolist() == [row < END[head] or head == 0 for row in range(7)]
            assert open_rows[1, place].tolist() == [row < END[head] for row in range(7)]
    assert (grammar.restrict(torch.zeros(2, 1, 7), 0, torch.tensor([3, 3])) == 0).all()

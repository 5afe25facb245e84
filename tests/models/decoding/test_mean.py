"""The mean's codes: what a codec is asked, and what becomes of its answer."""

from dataclasses import replace

import pytest
import torch

from slmtk.codecs.base import Codec
from slmtk.errors import ConfigError
from slmtk.models.decoding.batch import BatchGenerator
from slmtk.models.decoding.mean import MeanCodes, average_of
from slmtk.models.sampling import Sampling
from tests.helpers.small_models import SPEC, VOCABULARY, small_model
from tests.models.decoding.test_batch import model_of, requests_of

MEAN = Sampling(max_seconds=1.0, choose="mean", temperature=0.5)
SIZES = torch.tensor(SPEC.codebook_sizes)


def middle(probabilities):
    """Codes lie on a line: the one nearest to the mean place."""
    assert probabilities.shape[1] == len(SIZES)
    places = torch.arange(probabilities.shape[2], dtype=probabilities.dtype)
    assert not probabilities[:, places >= SIZES[:, None]].any()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:2]))
    return (probabilities * places).sum(-1).round().long()


def mean_of(model, heads_at_once=None, average=middle):
    return MeanCodes(model.layout, VOCABULARY, heads_at_once or model.layout.num_heads, average, torch.device("cpu"))


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_each_head_gets_the_code_nearest_to_the_mean_of_its_own_stream(order):
    model = small_model(stream_order=order)
    heads, streams = model.layout.num_heads, [model.layout.stream_of(head) for head in range(model.layout.num_heads)]
    scores = torch.full((2, heads, max(SPEC.codebook_sizes) + 2), -100.0)
    expected = torch.zeros(2, heads, dtype=torch.int64)
    for head, stream in enumerate(streams):
        scores[0, head, [0, 2]] = 1.0  # halfway
        scores[1, head, SPEC.codebook_sizes[stream] - 1] = 1.0  # sure of the last
        expected[0, head], expected[1, head] = 1, SPEC.codebook_sizes[stream] - 1
    rows = mean_of(model).choose(scores.argmax(-1), scores, torch.ones(2, 1, 1))
    assert rows.tolist() == expected.tolist()


def test_a_low_temperature_comes_near_to_the_best_code_and_the_end_stays_the_end():
    model = small_model()
    scores = torch.zeros(1, model.layout.num_heads, max(SPEC.codebook_sizes) + 2)
    scores[..., 0] = 2.0
    best = scores.argmax(-1)
    assert (mean_of(model).choose(best, scores, torch.full((1, 1, 1), 0.01)) == 0).all()
    assert (mean_of(model).choose(best, scores, torch.full((1, 1, 1), 100.0)) != 0).all()
    ends = SIZES[[model.layout.stream_of(head) for head in range(model.layout.num_heads)]][None]
    assert torch.equal(mean_of(model).choose(ends, scores, torch.ones(1, 1, 1)), ends)


def test_utterances_that_want_the_mean_stand_beside_others_and_do_not_change_them():
    model = model_of("grouped")
    requests = requests_of(MEAN)
    others = requests_of(Sampling(max_seconds=1.0, temperature=1.0))
    mixed = [pair[number % 2] for number, pair in enumerate(zip(requests, others, strict=True))]

    def codes(chosen, batch_size):
        found = dict(BatchGenerator(model, batch_size=batch_size, average=middle).run(chosen))
        return [found[n].codes for n in range(len(chosen))]

    alone, together = codes(mixed, 1), codes(mixed, 4)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    greedy = codes(requests_of(Sampling(max_seconds=1.0)), 4)
    assert any(not torch.equal(mine, best) for mine, best in zip(alone[::2], greedy[::2], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(codes(requests, 3), codes(requests, 5), strict=True))


@pytest.mark.parametrize("kind", ["grouped depth", "delayed", "interleaved"])
def test_models_whose_codes_come_one_by_one_are_refused(kind):
    with pytest.raises(ConfigError, match="--choose mean needs all codes of a frame at once"):
        list(BatchGenerator(model_of(kind), average=middle).run(requests_of(MEAN, 1)))


def test_codecs_that_cannot_average_are_refused():
    with pytest.raises(ConfigError, match="needs a codec that knows which of its codes sound alike"):
        list(BatchGenerator(model_of("grouped")).run(requests_of(MEAN, 1)))

    class Plain:
        spec, can_average = SPEC, False

    assert average_of(Plain()) is None
    with pytest.raises(ConfigError, match="does not know which of its codes sound alike"):
        Codec.average(Plain(), torch.zeros(1, 3, 4))


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"repetition_window": 10}, {"choose": "median"}])
def test_settings_that_contradict_it_are_refused(settings):
    with pytest.raises(ConfigError, match="--choose"):
        replace(MEAN, **settings)


def test_a_models_own_way_holds_where_nothing_else_is_asked_for():
    own = MEAN.own()
    assert own == {"choose": "mean", "temperature": 0.5}
    asked = Sampling(max_seconds=3.0)
    assert asked.or_own(own) == Sampling(max_seconds=3.0, choose="mean", temperature=0.5)
    assert asked.or_own({}) == asked
    for settings in ({"choose": "draw"}, {"temperature": 1.0}, {"repetition_window": 10}):
        assert replace(asked, **settings).or_own(own) == replace(asked, **settings)
    assert not MEAN.is_random

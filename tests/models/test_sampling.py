import math

import pytest
import torch

from slmtk.errors import ConfigError
from slmtk.models.sampling import Chooser, Sampling, draw, penalize

SCORES = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()


def shares(sampling, count=4000, scores=SCORES):
    uniforms = torch.rand(1, count, 2, generator=torch.Generator().manual_seed(0))
    rows = Chooser([sampling]).choose(scores.expand(1, count, -1), uniforms)
    return (torch.bincount(rows[0], minlength=len(scores)) / count).tolist()


def test_greedy_takes_the_best_whatever_the_seed():
    assert shares(Sampling(temperature=0.0), 3) == [1.0, 0.0, 0.0, 0.0]


def test_temperature_one_draws_with_the_models_probabilities():
    assert shares(Sampling(temperature=1.0)) == pytest.approx([0.5, 0.1, 0.3, 0.1], abs=0.03)


def test_a_low_temperature_sharpens():
    # Squared probabilities: .25 .01 .09 .01 over .36.
    assert shares(Sampling(temperature=0.5)) == pytest.approx([25 / 36, 1 / 36, 9 / 36, 1 / 36], abs=0.03)


def test_top_k_two_leaves_two_in_proportion():
    assert shares(Sampling(temperature=1.0, top_k=2)) == pytest.approx([5 / 8, 0, 3 / 8, 0], abs=0.03)


def test_top_p_keeps_the_fewest_codes_that_reach_it():
    assert shares(Sampling(temperature=1.0, top_p=0.79)) == pytest.approx([5 / 8, 0, 3 / 8, 0], abs=0.03)
    assert shares(Sampling(temperature=1.0, top_p=0.49), 50) == [1.0, 0.0, 0.0, 0.0]


def test_top_p_looks_at_what_top_k_has_left():
    # Of the best two .5 is 5/8: with it alone top-p 0.6 is reached, which of all four it would not be.
    assert shares(Sampling(temperature=1.0, top_k=2, top_p=0.6), 50) == [1.0, 0.0, 0.0, 0.0]
    assert shares(Sampling(temperature=1.0, top_p=0.6)) == pytest.approx([5 / 8, 0, 3 / 8, 0], abs=0.03)


@pytest.mark.parametrize("others", [{}, {"top_p": 0.999}, {"top_k": 4}])
def test_min_p_keeps_codes_that_have_that_share_of_the_best_ones_probability(others):
    assert shares(Sampling(temperature=1.0, min_p=0.5, **others)) == pytest.approx([5 / 8, 0, 3 / 8, 0], abs=0.03)
    assert shares(Sampling(temperature=1.0, min_p=0.7, **others), 50) == [1.0, 0.0, 0.0, 0.0]


def test_utterances_side_by_side_are_sampled_each_by_its_own_settings():
    settings = [
        Sampling(),
        Sampling(temperature=1.0),
        Sampling(temperature=0.5),
        Sampling(temperature=1.0, top_k=2),
        Sampling(temperature=1.0, top_p=0.79),
        Sampling(temperature=1.0, min_p=0.7),
    ]
    uniforms = torch.rand(len(settings), 500, 2, generator=torch.Generator().manual_seed(0))
    scores = torch.randn(len(settings), 500, 9, generator=torch.Generator().manual_seed(1))
    together = Chooser(settings).choose(scores, uniforms)
    for n, one in enumerate(settings):
        assert torch.equal(together[n], Chooser([one]).choose(scores[n, None], uniforms[n, None])[0]), one
    assert len({tuple(rows.tolist()) for rows in together}) == len(settings)


def test_the_penalty_divides_positive_and_multiplies_negative_scores_of_chosen_codes_alone():
    scores = torch.tensor([2.0, -2.0, 2.0, -2.0])
    chosen = torch.tensor([True, True, False, False])
    assert penalize(scores, chosen, 1.25).tolist() == pytest.approx([1.6, -2.5, 2.0, -2.0])
    assert penalize(scores, chosen, 1.0) is scores
    both = penalize(scores.expand(2, 1, 4), chosen.expand(2, 1, 4), torch.tensor([1.0, 2.0])[:, None, None])
    assert both[:, 0].tolist() == [[2.0, -2.0, 2.0, -2.0], [1.0, -4.0, 2.0, -2.0]]


def test_what_was_ruled_out_is_never_drawn():
    scores = torch.tensor([-math.inf, 0.0, -math.inf])
    for sampling in (Sampling(temperature=5.0), Sampling(temperature=5.0, top_p=0.9)):
        assert shares(sampling, 50, scores) == [0.0, 1.0, 0.0]


def test_a_draw_is_where_the_running_sum_passes_the_number_and_never_on_a_weight_of_nothing():
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
    uniforms = torch.tensor([0.0, 0.2499, 0.25, 0.9, 1 - 2**-24])
    assert draw(weights.expand(5, -1), uniforms).tolist() == [1, 1, 3, 3, 3]


def test_a_code_is_drawn_again_once_it_is_more_than_a_tenth_of_its_heads_last_choices():
    sampling = Sampling(repetition_window=10)
    scores = torch.tensor([0.9, 0.1]).log()[None, None]
    uniforms = torch.tensor([[[0.0, 0.95]]])  # the second would draw code 1
    for times, wanted in ((0, 0), (1, 0), (2, 1), (10, 1)):
        recent = torch.tensor([0] * times + [-1] * (10 - times))[None, None]
        assert Chooser([sampling]).choose(scores, uniforms, recent).tolist() == [[wanted]]


def test_values_out_of_range_are_refused():
    wrong = [{"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"repetition_penalty": 0}, {"max_seconds": 0}]
    wrong += [{"min_p": 1}, {"min_p": -0.1}, {"repetition_window": -1}, {"max_seconds_per_char": -1}]
    wrong += [{"min_seconds": -1}, {"min_seconds": 21}]
    for settings in wrong:
        with pytest.raises(ConfigError):
            Sampling(**settings)

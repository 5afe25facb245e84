"""What each kind of head may look at, and that generation asks it what training taught it."""

import pytest
import torch

from slmtk.data.collate import IGNORE, collate
from slmtk.layout import to_steps
from slmtk.models.config import HEADS
from slmtk.models.generate import generate
from slmtk.models.heads import SpeakerProjection
from slmtk.models.sampling import Sampling
from slmtk.models.speech_lm import SpeechLM
from tests.helpers.small_models import SPEC, VOCABULARY, example, small_model

PREFIX = [1, 259, 5, 260, 7, VOCABULARY.sosp]


def states_before_steps(model, ids, count):
    """What the heads read at the positions that predict the last ``count`` ones of ids [1, L, H], without a cache."""
    hidden = model.hidden(model.embed(ids), use_cache=False).last_hidden_state
    return model.head_states(hidden, use_cache=False)[0, -count - 1 : -1]


def all_scores(model, states, rows):
    """Scores of all heads as in training: states [N, D], rows [N, H] -> a list of H [N, V]."""
    if model.depth is None:
        return [head(states) for head in model.heads]
    places = model.depth(states, rows).unbind(1)
    return [head(place) for head, place in zip(model.heads, places, strict=True)]


def make_restless(model):
    """Forbid the end, and flatten each head's favourites so that codes differ from step to step."""
    with torch.no_grad():
        for head, layer in enumerate(model.heads):
            last = layer.down if hasattr(layer, "down") else layer
            last.bias.zero_()
            last.bias[SPEC.codebook_sizes[model.layout.stream_of(head)] :] -= 1e6


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("order", [None, [2, 0, 1]])
def test_each_step_follows_from_the_whole_sequence_without_a_cache(head, order):
    model = small_model(head=head, stream_order=order)
    make_restless(model)
    sampling = Sampling(max_seconds=3.0, loop_seconds=0)
    result = generate(model, PREFIX, None, None, sampling, torch.Generator())
    steps = to_steps(result.codes, model.layout)
    assert steps.shape == (12, 6)  # 3 seconds of 8 frames, 2 a step
    assert len({tuple(step) for step in steps.tolist()}) > 3  # or the comparison would say little
    offsets = torch.tensor([VOCABULARY.code_offset(model.layout.stream_of(place)) for place in range(6)])
    ids = torch.cat([torch.tensor(PREFIX)[:, None].expand(-1, 6), steps + offsets])[None]
    with torch.no_grad():
        scores = all_scores(model, states_before_steps(model, ids, len(steps)), steps)
    assert torch.equal(torch.stack([score.argmax(-1) for score in scores], dim=1), steps)


def test_a_depth_heads_scores_know_the_codes_before_it_and_none_from_it_on():
    model = small_model(head="depth")
    states = torch.randn(1, 128, generator=torch.Generator().manual_seed(0))
    rows = torch.zeros(1, 6, dtype=torch.int64)
    with torch.no_grad():
        before = all_scores(model, states, rows)
        for changed in range(6):
            after = all_scores(model, states, rows + torch.eye(6, dtype=torch.int64)[changed])
            same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(before, after, strict=True)]
            assert same == [True] * (changed + 1) + [False] * (5 - changed)


@pytest.mark.parametrize("head", HEADS)
def test_of_all_heads_only_the_transformer_looks_back_beyond_the_backbone(head):
    model = small_model(head=head)
    hidden = torch.randn(1, 5, 128, generator=torch.Generator().manual_seed(0))
    changed = hidden.clone()
    changed[0, 1] += 1
    with torch.no_grad():
        difference = (model.head_states(changed, use_cache=False) - model.head_states(hidden, use_cache=False)).abs()
    moved = (difference.amax(-1)[0] > 1e-6).tolist()
    assert moved == [False, True, *[head == "transformer"] * 3]  # causal: what came before never moves


@pytest.mark.parametrize("head", HEADS)
def test_heads_reach_every_parameter_also_in_a_batch_without_speech_or_speaker(head):
    """Training on several devices waits for the gradient of each parameter in each batch."""
    model = small_model(head=head, fusion="concat", speaker_dim=2).train()
    batch = collate([example("Hello", 6, model.layout)], 0)
    batch["speech_labels"] = torch.full_like(batch["speech_labels"], IGNORE)
    out = model(**batch)
    assert out.num_speech_targets == 0
    assert out.loss.item() == pytest.approx(0.2 * out.text_loss.item())
    out.loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_model_loads_with_the_same_weights_and_losses(tmp_path, head):
    settings = {"head": head, "stream_order": [1, 2, 0], "speaker_dim": 2, "speaker_encoder": "resemblyzer"}
    model = small_model(layout="delayed", **settings)
    batch = collate([example("Hello", 6, model.layout, voice=True)], 0)
    model.save_pretrained(tmp_path)
    again = SpeechLM.from_pretrained(tmp_path).eval()
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).head_losses, model(**batch).head_losses)
    assert (again.layout, again.config.speaker_encoder) == (model.layout, "resemblyzer")


def test_checkpoints_of_linear_heads_keep_their_names():
    names = [name for name in small_model().state_dict() if not name.startswith("backbone.")]
    assert sorted(names) == sorted(f"heads.{head}.{part}" for head in range(6) for part in ("weight", "bias"))


def test_the_depth_heads_loss_is_the_plain_cross_entropy_of_what_it_says():
    model = small_model(head="depth", restless=2.0)
    batch = collate([example("Hello", 6, model.layout)], 0)
    where = batch["speech_labels"][0, :, 0] != IGNORE
    rows = batch["speech_labels"][0, where]
    last = int(where.nonzero()[-1])
    with torch.no_grad():
        states = states_before_steps(model, batch["input_ids"][:, : last + 1], len(rows))
        scores = all_scores(model, states, rows)
        expected = [torch.nn.functional.cross_entropy(s, rows[:, head]) for head, s in enumerate(scores)]
        torch.testing.assert_close(model(**batch).head_losses, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_a_configuration_older_than_the_question_takes_its_vectors_from_the_codec():
    model = small_model(speaker_dim=2)
    assert model.config.speaker_encoder == "codec"
    assert small_model().config.speaker_encoder == ""


def test_noise_blurs_speaker_vectors_while_training_and_never_else():
    torch.manual_seed(0)
    projection = SpeakerProjection(6, 8, 4)
    vectors = torch.randn(3, 6)
    clean = projection(vectors)
    assert torch.equal(projection(vectors), clean)  # training without noise
    projection.noise = 1.0
    assert not torch.allclose(projection(vectors), projection(vectors))
    assert torch.equal(projection.eval()(vectors), clean)


def test_a_faded_vector_lies_between_the_mean_voice_and_its_own():
    projection = SpeakerProjection(6, 8, 6)
    projection.noise = 1e-9  # fading alone is left
    seen = []
    projection.fc1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    vectors = torch.ones(200, 6)
    projection(vectors)
    (faded,) = seen
    assert torch.allclose(faded, faded[:, :1].expand_as(faded), atol=1e-6)  # one factor a vector
    assert 0 <= float(faded.min()) < 0.1
    assert 0.9 < float(faded.max()) <= 1

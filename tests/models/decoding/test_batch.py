"""What an utterance says depends on itself alone, and on the model as training knows it."""

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from slmtk.errors import ConfigError
from slmtk.models.decoding import batch_scores, batch_slots
from slmtk.models.decoding.batch import BatchGenerator, Request
from slmtk.models.decoding.batch_slots import SpeechSlots
from slmtk.models.generate import generate
from slmtk.models.sampling import Sampling
from tests.helpers.small_models import SPEC, VOCABULARY, small_model

SOSP = VOCABULARY.sosp
KINDS = {
    "grouped": {},
    "grouped mlp": {"head": "mlp"},
    "grouped transformer": {"head": "transformer", "fusion": "concat"},
    "grouped depth": {"head": "depth", "stream_order": [2, 0, 1]},
    "delayed": {"layout": "delayed"},
    "delayed depth": {"layout": "delayed", "head": "depth"},
    "interleaved": {"layout": "interleaved", "stream_order": [1, 2, 0]},
}
SAMPLINGS = {
    "greedy": Sampling(max_seconds=1.0, min_seconds=0.3, repetition_penalty=1.3),
    "sampled": Sampling(max_seconds=1.0, min_seconds=0.2, temperature=1.0, top_k=4, top_p=0.9, min_p=0.01),
    "everything": Sampling(
        max_seconds=1.0, temperature=1.2, repetition_penalty=1.1, repetition_window=6, min_seconds=0.4, loop_seconds=0.6
    ),
}


def model_of(kind, seed=0):
    """A model that ends its speech now and then."""
    model = small_model(seed=seed, speaker_dim=2, **KINDS[kind])
    with torch.no_grad():
        model.get_input_embeddings().weight[VOCABULARY.eosp] *= 0.3
        for head, layer in enumerate(model.heads):
            layer = getattr(layer, "down", layer)
            layer.weight[SPEC.codebook_sizes[model.layout.stream_of(head)] :] *= 0.3
    return model


def requests_of(sampling, count=9):
    """Prompts of different lengths and voices; some write their text first, one in a voice of a reference's codes."""
    generator = torch.Generator().manual_seed(0)
    requests = []
    for n in range(count):
        words = torch.randint(0, 256, (2 + 3 * (n % 4) + n,), generator=generator).tolist()
        vector = torch.randn(2, generator=generator)
        end = [] if n % 3 == 2 else [SOSP]
        prefix = [1, 259, *words, VOCABULARY.placeholder, 260, *end]
        requests.append(Request(prefix, len(words) + 2, vector, sampling, seed=n))
    return requests


def codes_of(model, requests, batch_size):
    found = dict(BatchGenerator(model, batch_size=batch_size).run(requests))
    assert sorted(found) == list(range(len(requests)))
    return [(one.codes.tolist(), one.text_ids, one.reason, one.steps) for _, one in sorted(found.items())]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_utterance_is_the_same_in_batches_of_any_size_and_order(kind, sampling):
    model, requests = model_of(kind), requests_of(SAMPLINGS[sampling])
    alone = codes_of(model, requests, 1)
    assert len({str(codes) for codes, *_ in alone}) > 4  # or the comparison would say little
    assert len({len(codes[0]) for codes, *_ in alone}) > 1 or sampling == "greedy"
    for batch_size in (3, 8):
        assert codes_of(model, requests, batch_size) == alone
    assert codes_of(model, requests[::-1], 4) == alone[::-1]


def test_utterances_of_different_settings_do_not_touch_each_other():
    model, settings = model_of("grouped"), list(SAMPLINGS.values())
    requests = [request for n in range(3) for request in requests_of(settings[n], 4)]
    assert codes_of(model, requests, 5) == codes_of(model, requests, 1)


def test_generate_is_a_batch_of_one_with_the_same_seed():
    model, (request, *_) = model_of("grouped"), requests_of(SAMPLINGS["sampled"])
    generator = torch.Generator().manual_seed(request.seed)
    alone = generate(model, request.prefix, request.placeholder, request.speaker, request.sampling, generator)
    assert codes_of(model, [request], 1)[0][0] == alone.codes.tolist()


def test_a_slot_that_is_free_takes_the_next_utterance_at_once(monkeypatch):
    from slmtk.models.decoding.backbone import StepBackbone

    begun, step, prefill = [], StepBackbone.step, StepBackbone.prefill
    ticks = []
    monkeypatch.setattr(StepBackbone, "step", lambda self, e: ticks.append(0) or step(self, e))
    monkeypatch.setattr(
        StepBackbone, "prefill", lambda self, s, e: begun.append((len(ticks), list(s))) or prefill(self, s, e)
    )
    model = small_model()
    with torch.no_grad():
        for head, layer in enumerate(model.heads):
            layer.bias[SPEC.codebook_sizes[head % 3] :] -= 1e6
    asked = [Request([1, 259, 5, SOSP], max_steps=steps, text_length=steps) for steps in (2, 10, 4, 3)]
    done = list(BatchGenerator(model, batch_size=2).run(asked))
    # The longest first: 10 and 4 steps; the slot of the 4 takes the 3, then the 2. The last step is not fed back.
    assert begun == [(0, [0, 1]), (4, [1]), (7, [1])]
    assert [index for index, _ in done] == [2, 3, 0, 1]
    assert [result.codes.shape[1] for _, result in done] == [8, 6, 4, 20]


def test_prompts_with_codes_in_them_are_read_step_by_step():
    model = small_model()
    steps = torch.tensor([[1] * 6, [SOSP] * 6, [264, 268, 271, 265, 269, 272], [SOSP] * 6])
    other = steps.clone()
    other[2, 0] += 1
    sampling = Sampling(max_seconds=1.0, min_seconds=1.0, temperature=1.0)
    codes = [codes_of(model, [Request(one, sampling=sampling, seed=1)], 1)[0][0] for one in (steps, steps, other)]
    assert codes[0] == codes[1] != codes[2]


def test_nothing_to_speak_is_no_mistake_and_a_batch_of_none_is():
    assert list(BatchGenerator(small_model()).run([])) == []
    with pytest.raises(ConfigError, match="batch size of 0"):
        BatchGenerator(small_model(), batch_size=0)


def test_a_place_for_a_voice_without_one_is_refused():
    with pytest.raises(ConfigError, match="speaker vector"):
        list(BatchGenerator(model_of("grouped")).run([Request([1, VOCABULARY.placeholder, SOSP], 1)]))


def test_speech_longer_than_its_text_allows_is_too_long():
    model = small_model()
    with torch.no_grad():
        for head, layer in enumerate(model.heads):
            layer.bias[SPEC.codebook_sizes[head % 3] :] -= 1e6
    sampling = Sampling(max_seconds=2.0, max_seconds_per_char=0.1, loop_seconds=0)
    requests = [Request([1, SOSP], sampling=sampling, text_length=letters) for letters in (10, 15, 40, 0)]
    found = dict(BatchGenerator(model).run(requests))
    seen = [(found[n].reason, found[n].codes.shape[1]) for n in range(4)]
    assert seen == [("too_long", 8), ("too_long", 12), ("no_end", 16), ("no_end", 16)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", ["sampled", "everything"])
def test_pieces_of_a_stream_are_the_whole_and_come_as_early_as_they_can(kind, sampling):
    model, made = model_of(kind), BatchGenerator(model_of(kind), batch_size=1)
    seen = 0
    for request in requests_of(SAMPLINGS[sampling], 5):
        *pieces, last = list(made.stream(request))
        ((_, whole),) = BatchGenerator(model).run([request])
        assert last.result is not None
        assert last.codes.shape == (3, 0)
        assert torch.equal(last.result.codes, whole.codes)
        assert (last.result.reason, last.result.steps) == (whole.reason, whole.steps)
        assert all(piece.result is None and piece.codes.shape[1] for piece in pieces)
        joined = torch.cat([piece.codes for piece in pieces], dim=1) if pieces else whole.codes[:, :0]
        assert torch.equal(joined, whole.codes)
        most = 2 if "grouped" in kind else 1
        assert all(piece.codes.shape[1] <= most for piece in pieces)
        seen += len(pieces)
    assert seen > 4


class KeepToStreams(LogitsProcessor):
    """The interleaved grammar in transformers' terms."""

    def __init__(self, model, prompt):
        self.model, self.prompt = model, prompt

    def __call__(self, input_ids, scores):
        place = (input_ids.shape[1] - self.prompt) % 3
        stream = self.model.layout.stream_of(0, place)
        allowed = torch.zeros(scores.shape[1], dtype=torch.bool)
        first = VOCABULARY.code_offset(stream)
        allowed[first : first + SPEC.codebook_sizes[stream]] = True
        allowed[VOCABULARY.eosp] = place == 0
        return scores.masked_fill(~allowed, -torch.inf)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_interleaved_speech_is_what_transformers_generates(seed):
    model = small_model(layout="interleaved", stream_order=[1, 2, 0], seed=seed)
    prompts = [[1, 259, 5 + n, 9, 260, SOSP][-6 + n % 3 :] for n in range(4)]
    sampling = Sampling(max_seconds=2.0, loop_seconds=0, repetition_penalty=1.0)
    found = dict(BatchGenerator(model).run([Request(prompt, sampling=sampling) for prompt in prompts]))
    for n, prompt in enumerate(prompts):
        ids = model.backbone.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            logits_processor=LogitsProcessorList([KeepToStreams(model, len(prompt))]),
            do_sample=False,
            max_new_tokens=48,
            eos_token_id=VOCABULARY.eosp,
            pad_token_id=0,
        )[0, len(prompt) :]
        ended = bool((ids == VOCABULARY.eosp).any())
        offsets = [VOCABULARY.code_offset(stream) for stream in (1, 2, 0)]
        theirs = ids[: len(ids) - ended].reshape(-1, 3) - torch.tensor(offsets)
        assert torch.equal(found[n].codes[[1, 2, 0]], theirs.T)
        assert found[n].reason == ("" if ended and len(theirs) else "empty" if ended else "no_end")


@pytest.mark.parametrize("kind", KINDS)
def test_scores_on_the_way_are_those_of_the_whole_sequence(kind, monkeypatch):
    """Also what training computes its losses from: each step from everything before it, without a cache."""
    model, seen, fed, picked = model_of(kind), [], [], []
    plain = batch_slots.make_heads

    def make_heads(model, slots):
        heads = plain(model, slots)
        scores_of = heads.scores

        def scores(states, first, previous):
            found = scores_of(states, first, previous)
            seen.append(found[0].clone())
            return found

        heads.scores = scores
        return heads

    monkeypatch.setattr(batch_slots, "make_heads", make_heads)
    choose = SpeechSlots._choose
    monkeypatch.setattr(SpeechSlots, "_choose", lambda *given: picked.append(choose(*given)) or picked[-1])
    embed = batch_scores.StepEmbedding.__call__
    monkeypatch.setattr(
        batch_scores.StepEmbedding, "__call__", lambda self, ids: fed.append(ids[0]) or embed(self, ids)
    )
    prefix = [1, 259, 7, 9, 260, SOSP]
    sampling = Sampling(temperature=1.0, max_seconds=1.5, min_seconds=1.5, loop_seconds=0)
    ((_, result),) = BatchGenerator(model).run([Request(prefix, sampling=sampling, seed=3)])
    count = len(fed)
    assert count >= result.steps >= 6
    heads = model.layout.num_heads
    ids = torch.cat([torch.tensor(prefix)[:, None].expand(-1, heads), torch.stack(fed)])[None, :-1]
    table = torch.cat(seen).reshape(count, heads, -1)
    with torch.no_grad():
        hidden = model.hidden(model.embed(ids), use_cache=False).last_hidden_state
        states = model.head_states(hidden, use_cache=False)[0, len(prefix) - 1 :]
        if model.layout.kind == "interleaved":
            expected = [model.text_scores(states)[:, VOCABULARY.first_code : VOCABULARY.eosp + 1]]
        else:
            rows = torch.cat(picked)
            places = [states] * heads if model.depth is None else model.depth(states, rows).unbind(1)
            expected = [layer(place) for layer, place in zip(model.heads, places, strict=True)]
    for head, scores in enumerate(expected):
        scale = scores.abs().max()
        torch.testing.assert_close(table[:, head, : scores.shape[1]] / scale, scores / scale, atol=1e-5, rtol=0)
        assert (table[:, head, scores.shape[1] :] == -torch.inf).all()


def test_heads_that_a_library_has_wrapped_are_asked_one_by_one():
    class Wrapped(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x)

    for kind in ("grouped", "grouped mlp", "grouped depth", "delayed"):
        model, requests = model_of(kind), requests_of(SAMPLINGS["sampled"], 3)
        plain = codes_of(model, requests, 2)
        model.heads = torch.nn.ModuleList(Wrapped(layer) for layer in model.heads)
        assert isinstance(batch_scores.make_heads(model, 2), batch_scores.OneByOne)
        assert codes_of(model, requests, 2) == plain


def test_generation_leaves_a_models_weights_fit_for_training_and_saving(tmp_path):
    model = model_of("grouped mlp")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    codes_of(model, requests_of(SAMPLINGS["greedy"], 2), 2)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert all(torch.equal(before[name], value) for name, value in again.state_dict().items())
    model.heads[0].up.weight.data.add_(1.0)
    assert torch.equal(model.heads[1].up.weight, before["heads.1.up.weight"])
    assert all(parameter.requires_grad and not parameter.is_inference() for parameter in model.parameters())

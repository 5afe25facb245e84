import pytest
import torch

from slmtk.data.collate import step_ids
from slmtk.data.vocabulary import Vocabulary
from slmtk.layout import MISSING, to_steps
from slmtk.models.build import build_model
from slmtk.models.decoding import batch_slots
from slmtk.models.generate import generate
from slmtk.models.sampling import Chooser, Sampling
from slmtk.spec import CodecSpec, Stream
from tests.helpers import small_models as tiny

SPEC = CodecSpec("small", 1600, 200, (Stream("x", 4), Stream("y", 3)))  # 8 frames a second
VOCABULARY = Vocabulary(10, SPEC)
PREFIX = [1, 10, 5, 11, 7, 12]  # ends with <sosp>
LONG = Sampling(max_seconds=4.0, loop_seconds=0)


def small_model(layout="grouped", frames_per_step=2, seed=0, **others):
    torch.manual_seed(seed)
    settings = {"layout": layout, "frames_per_step": frames_per_step, **others}
    model = build_model(settings, VOCABULARY.to_dict(), base="tiny", size="xs").eval()
    with torch.no_grad():  # at its random start the model says one thing for ever; larger weights make it wander
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(6)
    return model


def run(model, sampling=LONG, prefix=PREFIX, seed=0):
    return generate(model, prefix, None, None, sampling, torch.Generator().manual_seed(seed))


def forbid_end(model):
    with torch.no_grad():
        for head, layer in enumerate(model.heads):
            layer.bias[SPEC.codebook_sizes[head % 2] :] -= 1000


def test_each_step_follows_from_the_whole_sequence_without_a_cache():
    model = small_model()
    forbid_end(model)
    codes = run(model).codes
    steps = to_steps(codes, model.layout)
    assert steps.shape == (16, 4)  # 4 seconds at 8 frames a second, 2 a step
    assert len({tuple(step) for step in steps.tolist()}) > 3  # or the comparison would say little
    prompt = torch.tensor(PREFIX)[:, None].expand(-1, 4)
    ids = torch.cat([prompt, step_ids(steps, VOCABULARY, model.layout)])[None]
    with torch.no_grad():
        hidden = model.hidden(model.embed(ids), use_cache=False).last_hidden_state[0, len(PREFIX) - 1 : -1]
        again = torch.stack([head(hidden).argmax(-1) for head in model.heads], dim=1)
    assert torch.equal(again, steps)


def test_interleaved_codes_keep_to_their_streams_and_end_on_a_whole_frame():
    for seed in range(5):
        result = run(small_model("interleaved", 1, seed), Sampling(temperature=1.5, max_seconds=4.0, loop_seconds=0))
        assert result.codes.shape[0] == 2
        if result.codes.shape[1]:
            assert result.codes[0].max() < 4
            assert result.codes[1].max() < 3
        assert result.reason in ("", "no_end", "empty")


THREE = [1, 259, 260, tiny.VOCABULARY.sosp]  # of the three-stream codec


def delayed_model(seed=0, **settings):
    """Streams z x y of a three-stream codec, each a step later; the end is left to the tests."""
    model = tiny.small_model(layout="delayed", stream_order=[2, 0, 1], seed=seed, **settings)
    with torch.no_grad():
        model.heads[0].bias[5:] -= 1e6  # z's <eosp> and <pad>
    return model


def end_at(monkeypatch, frames, row):
    """Let the first place choose ``row``, <eosp> or <pad>, once ``frames`` steps have gone by."""
    plain = batch_slots.make_heads
    steps = []

    def make_heads(model, slots):
        heads = plain(model, slots)
        scores_of = heads.scores

        def scores(states, first, previous):
            found = scores_of(states, first, previous).clone()
            if first == 0:
                steps.append(0)
                if len(steps) > frames:
                    found[:, 0, row] += 1e9
            return found

        heads.scores = scores
        return heads

    monkeypatch.setattr(batch_slots, "make_heads", make_heads)


@pytest.mark.parametrize("head", ["linear", "depth", "transformer"])
def test_delayed_steps_follow_from_the_whole_sequence_without_a_cache(head, monkeypatch):
    model = delayed_model(head=head)
    end_at(monkeypatch, 9, row=6)
    result = run(model, prefix=THREE)
    assert (result.reason, result.codes.shape) == ("", (3, 9))
    assert result.steps == 11  # two more than frames: the last code of the last stream
    steps = to_steps(result.codes, model.layout)
    ids, rows = [[token] * 3 for token in THREE], []
    sizes = [5, 4, 3]  # z x y
    for step in steps.tolist():
        offsets = [tiny.VOCABULARY.code_offset(stream) for stream in (2, 0, 1)]
        ids.append([tiny.VOCABULARY.pad if c == MISSING else c + at for c, at in zip(step, offsets, strict=True)])
        rows.append([size + 1 if c == MISSING else c for c, size in zip(step, sizes, strict=True)])
    with torch.no_grad():
        hidden = model.hidden(model.embed(torch.tensor(ids)[None]), use_cache=False).last_hidden_state
        states = model.head_states(hidden, use_cache=False)[0, 3:-1]
        places = [states] * 3 if model.depth is None else model.depth(states, torch.tensor(rows)).unbind(1)
        best = [
            layer(place)[:, :size].argmax(-1) for layer, place, size in zip(model.heads, places, sizes, strict=True)
        ]
    for head, (codes, chosen) in enumerate(zip(steps.T, best, strict=True)):
        spoken = codes != MISSING
        assert torch.equal(codes[spoken], chosen[spoken]), head
    assert len({tuple(step) for step in steps.tolist()}) > 3


@pytest.mark.parametrize(("frames", "row"), [(0, 5), (0, 6), (1, 5), (4, 5), (4, 6)])
def test_the_first_place_alone_ends_delayed_speech_and_the_others_finish_their_frames(frames, row, monkeypatch):
    model = delayed_model()
    with torch.no_grad():
        for head, size in ((1, 4), (2, 3)):
            model.heads[head].bias[size:] += 1e6  # they would end at once
    end_at(monkeypatch, frames, row)
    result = run(model, prefix=THREE)
    assert result.codes.shape == (3, frames)
    assert result.reason == ("" if frames else "empty")
    assert (result.codes.max(dim=1).values < torch.tensor([4, 3, 5])).all() if frames else True


def test_delayed_speech_that_never_ends_is_cut_at_whole_frames():
    result = run(delayed_model(), Sampling(max_seconds=1.0, loop_seconds=0), THREE)
    assert result.reason == "no_end"
    assert result.codes.shape == (3, 8)
    assert result.codes.min() >= 0


def test_a_repetition_penalty_does_not_let_a_delayed_stream_end_early():
    sampling = Sampling(max_seconds=3.0, loop_seconds=0, repetition_penalty=1.5, temperature=1.0)
    result = run(delayed_model(), sampling, THREE)
    assert result.codes.shape == (3, 24)


def test_interleaved_codes_of_another_order_keep_to_their_streams():
    model = tiny.small_model(layout="interleaved", stream_order=[2, 0, 1])
    seen = []
    table = model.get_input_embeddings()
    table.register_forward_hook(lambda _, ids, __: seen.append(ids[0].flatten().tolist()))
    add_to_scores(model, {tiny.VOCABULARY.eosp: -1e9})
    codes = run(model, Sampling(temperature=2.0, max_seconds=2.0, loop_seconds=0), THREE).codes
    assert codes.shape == (3, 16)
    ids = (codes + torch.tensor([[tiny.VOCABULARY.code_offset(stream)] for stream in range(3)]))[[2, 0, 1]]
    assert [token for step in seen[1:] for token in step][: ids.numel()] == ids.T.flatten().tolist()


def test_any_head_that_says_the_end_ends_the_speech_and_drops_the_step():
    model = small_model()
    with torch.no_grad():
        model.heads[3].bias[3] += 1000  # y's <eosp> in frame 2
    result = run(model)
    assert result.reason == "empty"
    assert result.codes.shape == (2, 0)


def test_speech_that_never_ends_is_cut_and_called_so():
    model = small_model()
    forbid_end(model)
    result = run(model, Sampling(max_seconds=1.0, loop_seconds=0))
    assert result.reason == "no_end"
    assert result.codes.shape == (2, 8)


def test_a_step_said_again_and_again_is_called_a_loop():
    model = small_model()
    forbid_end(model)
    with torch.no_grad():
        for head in model.heads:
            head.bias[1] += 1000
    result = run(model, Sampling(max_seconds=4.0, loop_seconds=1.0))
    assert result.reason == "loop"
    assert result.codes.shape == (2, 8)


def test_padded_frames_are_left_out_and_the_speech_goes_on():
    model = small_model()
    forbid_end(model)
    with torch.no_grad():
        model.heads[2].bias[5] += 2000  # x's <pad> in frame 2
    assert run(model, Sampling(max_seconds=1.0, loop_seconds=0)).codes.shape == (2, 4)
    assert MISSING not in run(model, Sampling(max_seconds=1.0, loop_seconds=0)).codes


def test_an_utterances_seed_decides_its_random_choices():
    model = small_model()
    forbid_end(model)
    sampling = Sampling(temperature=1.0, max_seconds=4.0, loop_seconds=0)
    first, again, other = (run(model, sampling, seed=seed).codes for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def add_to_scores(model, added):
    """Give the text head a bias of its own: {token: what its score gets}."""
    old = model.backbone.get_output_embeddings().weight
    layer = torch.nn.Linear(old.shape[1], old.shape[0])
    layer.weight.data = old.detach().clone()
    layer.bias.data.zero_()
    for token, value in added.items():
        layer.bias.data[token] = value
    model.backbone.set_output_embeddings(layer)


def always_writes(model, token):
    # A code is never written as text, however likely it looks.
    add_to_scores(model, {token: 1e6, VOCABULARY.first_code: 2e6})


def test_next_token_models_are_penalized_as_released_unless_told_otherwise():
    model = small_model("interleaved", 1)
    add_to_scores(model, {VOCABULARY.eosp: -1e9})
    options = {"max_seconds": 4.0, "loop_seconds": 0}
    codes = [run(model, Sampling(**options, repetition_penalty=penalty)).codes for penalty in (None, 1.2, 1.0)]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


def test_a_model_that_never_writes_sosp_has_no_speech():
    model = small_model()
    always_writes(model, 3)
    result = run(model, Sampling(max_text_tokens=4), prefix=PREFIX[:-2])
    assert result.reason == "no_speech"
    assert result.text_ids == [3, 3, 3, 3]
    assert result.codes.shape == (2, 0)


def test_a_control_token_in_the_answer_ends_it_without_speech():
    model = small_model()
    always_writes(model, VOCABULARY.human)
    assert run(model, prefix=PREFIX[:-2]).reason == "no_speech"


def test_sosp_in_the_answer_begins_the_speech():
    model = small_model()
    forbid_end(model)
    always_writes(model, VOCABULARY.sosp)
    result = run(model, Sampling(max_seconds=1.0, loop_seconds=0), prefix=PREFIX[:-1])
    assert torch.equal(result.codes, run(model, Sampling(max_seconds=1.0, loop_seconds=0)).codes)
    assert result.text_ids == []


def test_speech_does_not_end_before_its_shortest_length():
    for layout, frames_per_step in (("grouped", 2), ("grouped", 1), ("delayed", 1), ("interleaved", 1)):
        model = small_model(layout, frames_per_step)
        if layout == "interleaved":
            add_to_scores(model, {VOCABULARY.eosp: 1e6})
        with torch.no_grad():
            for head, layer in enumerate(model.heads):
                layer.bias[SPEC.codebook_sizes[head % 2]] += 1e6  # they would end at once
        assert run(model).reason == "empty", layout
        result = run(model, Sampling(min_seconds=1.0, loop_seconds=0))
        assert (result.reason, result.codes.shape) == ("", (2, 8)), layout


def test_dropped_frames_do_not_count_towards_the_shortest_length():
    model = small_model()
    with torch.no_grad():
        model.heads[2].bias[5] += 1e6  # x's <pad> in frame 2
        model.heads[0].bias[4] += 1e6  # x's <eosp>
    result = run(model, Sampling(min_seconds=1.0, loop_seconds=0))
    assert (result.reason, result.codes.shape, result.steps) == ("", (2, 8), 8)


def test_repetition_aware_sampling_breaks_a_loop_that_greedy_choice_is_caught_in():
    model = small_model()
    forbid_end(model)
    with torch.no_grad():
        for layer in model.heads:
            layer.weight.zero_()
            layer.bias[1] += 1.0
    caught = run(model, Sampling(max_seconds=4.0, loop_seconds=0))
    assert (caught.codes == 1).all()
    freed = run(model, Sampling(max_seconds=4.0, loop_seconds=0, repetition_window=10))
    # The 1 is chosen again only where it was chosen once or not at all in the last ten frames, or is drawn.
    assert 0.1 < (freed.codes == 1).float().mean() < 0.8


@pytest.mark.parametrize(
    "settings", [{}, {"frames_per_step": 3}, {"head": "depth"}, {"layout": "delayed", "frames_per_step": 1}]
)
def test_repetition_aware_sampling_counts_a_streams_last_codes_those_of_the_same_step_included(monkeypatch, settings):
    seen: list[torch.Tensor] = []

    def again(self, rows, scores, uniforms, repeated):
        seen.extend(repeated[0])
        return rows

    monkeypatch.setattr(Chooser, "again", again)
    model = small_model(**settings)
    forbid_end(model)
    result = run(model, Sampling(temperature=1.0, max_seconds=3.0, loop_seconds=0, repetition_window=5))
    streams, frames = result.codes.shape
    assert len(seen) >= streams * frames
    for frame in range(8, frames - streams):  # when a delayed layout's last stream has five codes behind it
        for stream in range(streams):
            step = frame + (stream if settings.get("layout") == "delayed" else 0)
            assert torch.equal(seen[step * streams + stream], result.codes[stream, frame - 5 : frame])

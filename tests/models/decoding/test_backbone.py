"""Position by position gives what transformers gives for the whole sequence without a cache."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from slmtk.errors import ShapeError
from slmtk.models.decoding import cache, check
from slmtk.models.decoding.backbone import StepBackbone, make_backbone, why_slow
from slmtk.models.decoding.cache import Places
from slmtk.models.decoding.llama import LlamaStack
from slmtk.models.lora import add_lora
from tests.helpers.small_models import FAMILIES, small_model, write_base

WIDTH = 32


def shuffled_model(base=None, **settings):
    """A model whose biases and norms are random too: as they are made, they are all 0 or 1."""
    model = small_model(base, restless=3.0, **settings)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn(len(weight)) / 2)
    return model


def model_of(folder, family, *, tied=True, changes=None, **settings):
    write_base(folder, family, tied=tied)
    if changes:
        config_class, model_class = FAMILIES[family]
        config = config_class.from_pretrained(folder)
        config_class.from_dict({**config.to_dict(), **changes}).save_pretrained(folder / "changed")
        model_class(config_class.from_pretrained(folder / "changed")).save_pretrained(folder / "changed")
        folder = folder / "changed"
    return shuffled_model(folder, **settings)


@torch.no_grad()
def whole(model, inputs):
    """Hidden and head states of float [L, D] at its last position, by transformers without a cache."""
    hidden = model.hidden(inputs[None], use_cache=False).last_hidden_state
    return hidden[0, -1], model.head_states(hidden, use_cache=False)[0, -1]


def rows(*lengths, width=WIDTH, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, generator=random) for length in lengths]


def assert_same(model, found, inputs, atol=1e-5):
    for ours, theirs in zip(found, whole(model, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-5)


def follow(model, backbone, begun, sequences):
    """Go on in all slots until their ``sequences`` end, comparing every position."""
    for _ in range(len(sequences[0]) - begun[0]):
        lengths = list(backbone.lengths)
        hidden, states = backbone.step(torch.stack([row[at] for row, at in zip(sequences, lengths, strict=True)]))
        for slot, (row, at) in enumerate(zip(sequences, lengths, strict=True)):
            assert_same(model, (hidden[slot], states[slot]), row[: at + 1])


@pytest.mark.parametrize("head", ["linear", "transformer"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_slots_of_different_lengths_are_as_without_a_cache(tmp_path, family, tied, head):
    model = model_of(tmp_path, family, tied=tied, head=head)
    backbone = make_backbone(model, 3, 64)
    assert backbone.reason == ""
    sequences = rows(12, 16, 9)
    begun = [5, 9, 2]
    hidden, states = backbone.prefill([2, 0, 1], [sequences[i][: begun[i]] for i in (2, 0, 1)])
    for place, slot in enumerate((2, 0, 1)):
        assert_same(model, (hidden[place], states[place]), sequences[slot][: begun[slot]])
        with torch.inference_mode():
            ours, theirs = (
                model.text_scores(h) for h in (hidden[place], whole(model, sequences[slot][: begun[slot]])[0])
            )
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)
    follow(model, backbone, begun, sequences)
    assert backbone.lengths == [12, 16, 9]


@pytest.mark.parametrize("family", FAMILIES)
def test_slots_of_one_length_are_as_without_a_cache(tmp_path, family):
    model = model_of(tmp_path, family)
    backbone = StepBackbone(model, 2, 64)
    sequences = rows(11, 11)
    backbone.prefill([0, 1], [row[:4] for row in sequences])
    follow(model, backbone, [4, 4], sequences)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True, "mlp_bias": True},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 4},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0}},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 100.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ],
    ids=["biases", "one key head", "no shared keys", "gelu", "linear", "llama3", "yarn"],
)
def test_variants_of_llama_take_the_fast_step(tmp_path, changes):
    model = model_of(tmp_path, "llama", changes=changes)
    backbone = StepBackbone(model, 2, 64)
    assert backbone.reason == ""
    sequences = rows(10, 12)
    backbone.prefill([0, 1], [sequences[0][:4], sequences[1][:6]])
    follow(model, backbone, [4, 6], sequences)


def test_a_slot_is_used_again_while_another_goes_on(tmp_path):
    model = model_of(tmp_path, "qwen2", head="transformer")
    backbone = StepBackbone(model, 2, 64)
    first, second, third = rows(14, 20, 6)
    backbone.prefill([0, 1], [first[:10], second[:3]])
    follow(model, backbone, [10, 3], [first, second[:7]])
    hidden, states = backbone.prefill([0], [third[:2]])
    assert_same(model, (hidden[0], states[0]), third[:2])
    assert backbone.lengths == [2, 7]
    follow(model, backbone, [2, 7], [third, second[:11]])


def test_the_memory_grows_and_forgets_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("slmtk.models.decoding.llama.FIRST_ROOM", 4)
    model = model_of(tmp_path, "qwen3")
    backbone = StepBackbone(model, 2, 5)
    sequences = rows(35, 33)
    backbone.prefill([0, 1], [sequences[0][:3], sequences[1][:1]])
    follow(model, backbone, [3, 1], sequences)
    assert backbone._stacks[0].cache.room == 64


def test_released_slots_stand_still_and_disturb_nobody(tmp_path):
    model = model_of(tmp_path, "llama")
    backbone = StepBackbone(model, 3, 64)
    long, short = rows(12, 8)
    backbone.prefill([0, 2], [long[:9], short[:5]])
    backbone.release([0])
    for at in range(5, 8):
        hidden, states = backbone.step(torch.stack([long[0], long[1], short[at]]))
        assert_same(model, (hidden[2], states[2]), short[: at + 1])
    assert backbone.lengths == [0, 0, 8]
    hidden, states = backbone.prefill([1], [long[:3]])
    for at in range(3, 6):
        hidden, states = backbone.step(torch.stack([long[0], long[at], short[0]]))
        assert_same(model, (hidden[1], states[1]), long[: at + 1])


def test_no_mask_is_made_where_all_slots_in_use_are_of_one_length():
    here = torch.device("cpu")
    assert Places.of([7, 0, 7], here, torch.float32) == Places(7, 8, None)
    places = Places.of([2, 0, 1], here, torch.float32)
    nothing = float("-inf")
    expected = [[0.0, 0.0, 0.0], [0.0, nothing, nothing], [0.0, 0.0, nothing]]
    assert places.window == 3
    assert places.mask[:, 0, 0].tolist() == expected
    assert places.index.tolist() == [2, 0, 1]


def test_bf16_is_as_near_to_float32_as_transformers_is(tmp_path):
    model = model_of(tmp_path, "qwen2")
    sequence = rows(12)[0]
    exact = whole(model, sequence)[0]
    model.to(torch.bfloat16)
    backbone = StepBackbone(model, 1, 64)
    assert backbone.reason == ""
    sequence = sequence.bfloat16()
    backbone.prefill([0], [sequence[:8]])
    for at in range(8, 12):
        hidden, _ = backbone.step(sequence[at, None])
    theirs = (whole(model, sequence)[0] - exact).abs().max()
    assert (hidden[0].float() - exact).abs().max() < 2 * theirs


def gpt2_model(tmp_path):
    config = GPT2Config(vocab_size=270, n_embd=WIDTH, n_layer=2, n_head=4, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    return shuffled_model(tmp_path, head="transformer")


def test_another_architecture_runs_through_transformers_and_says_so(tmp_path):
    model = gpt2_model(tmp_path)
    backbone = StepBackbone(model, 3, 64)
    assert backbone.reason == "the architecture 'gpt2' has no fast step; llama, mistral, qwen2, qwen3 have"
    assert why_slow(model) == backbone.reason
    first, second, third = rows(9, 12, 6)
    backbone.prefill([0, 2], [first[:4], second[:7]])
    for at in range(5):
        hidden, states = backbone.step(torch.stack([first[4 + at], first[0], second[7 + at]]))
        assert_same(model, (hidden[0], states[0]), first[: 5 + at])
        assert_same(model, (hidden[2], states[2]), second[: 8 + at])
    backbone.release([0])
    hidden, states = backbone.prefill([1], [third])
    assert_same(model, (hidden[0], states[0]), third)
    assert backbone.lengths == [0, 6, 12]
    hidden, states = backbone.prefill([2], [first[:3]])
    assert_same(model, (hidden[0], states[0]), first[:3])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "layer_types": None}, "sliding"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}}, "change with the length"),
    ],
    ids=["window", "dynamic"],
)
def test_what_the_fast_step_cannot_do_is_left_to_transformers(tmp_path, changes, reason):
    model = model_of(tmp_path, "qwen2", changes=changes)
    backbone = StepBackbone(model, 1, 64)
    assert reason in backbone.reason
    sequence = rows(12)[0]
    backbone.prefill([0], [sequence[:8]])
    follow(model, backbone, [8], [sequence])


def test_weights_with_an_adapter_are_left_to_transformers(tmp_path):
    model = model_of(tmp_path, "qwen2")
    add_lora(model, 2)
    assert "not a plain linear layer" in StepBackbone(model, 1, 64).reason


def test_weights_of_a_kind_of_their_own_are_left_to_transformers(tmp_path):
    class Strange(torch.Tensor):
        pass

    model = model_of(tmp_path, "qwen2")
    layer = model.backbone.base_model.layers[1].mlp.up_proj
    layer.weight = torch.nn.Parameter(layer.weight.detach().as_subclass(Strange))
    assert StepBackbone(model, 1, 64).reason == "the layers' weights are quantized or spread over devices"


def test_weights_loaded_in_inference_mode_are_left_to_transformers():
    with torch.inference_mode():
        model = small_model()
    assert "inference mode" in StepBackbone(model, 1, 64).reason


def test_a_fast_step_that_differs_is_not_used(tmp_path, monkeypatch):
    model = model_of(tmp_path, "qwen2")
    monkeypatch.setattr(check, "_verdicts", {})
    right = LlamaStack.step
    monkeypatch.setattr(LlamaStack, "step", lambda self, inputs, places: 1.1 * right(self, inputs, places))
    assert StepBackbone(model, 1, 64).reason.startswith("the fast step differs from transformers' by ")


@pytest.mark.parametrize(
    ("slots", "prefixes", "message"),
    [
        ([0], rows(2, 3), "slots \\[0\\] and 2 prefixes"),
        ([1, 1], rows(2, 3), "no slot twice"),
        ([2], rows(2), "expected some of 0 to 1"),
        ([0], rows(0), "prefixes are \\[\\[0, 32\\]\\]; expected \\[L, D\\], L >= 1"),
    ],
)
def test_prefixes_that_do_not_fit_the_slots_are_refused(slots, prefixes, message):
    backbone = StepBackbone(small_model(), 2, 64)
    with pytest.raises(ShapeError, match=message):
        backbone.prefill(slots, prefixes)


def test_steps_and_sizes_that_make_no_sense_are_refused():
    model = small_model()
    with pytest.raises(ShapeError, match="0 slots of 64 positions"):
        StepBackbone(model, 0, 64)
    with pytest.raises(ShapeError, match=r"compile 'fast'; expected .* one of auto, off"):
        StepBackbone(model, 1, 64, compile="fast")
    with pytest.raises(ShapeError, match="embeddings are \\[1, 128\\]; expected \\[2, D\\]"):
        StepBackbone(model, 2, 64).step(torch.zeros(1, 128))


def test_rooms_are_powers_of_two():
    assert [cache.power_of_two(count) for count in (1, 2, 3, 128, 129)] == [1, 2, 4, 128, 256]

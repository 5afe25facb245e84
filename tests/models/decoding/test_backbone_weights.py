"""The joined weights are the model's own: nothing is held twice, and the model can be saved and trained as before."""

import pytest
import torch

from slmtk.data.collate import collate
from slmtk.models.decoding.backbone import StepBackbone
from slmtk.models.decoding.weights import join_rows
from slmtk.models.speech_lm import SpeechLM
from tests.helpers.small_models import example, small_model


def storages(model):
    """Bytes of memory behind the parameters, each piece counted once."""
    pieces = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}
    return sum(pieces.values())


def after_three_steps(model, slots=1):
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(7, 128, generator=random)
    backbone = StepBackbone(model, slots, 64)
    assert backbone.reason == ""
    backbone.prefill([0], [inputs[:4]])
    for row in inputs[4:]:
        hidden, _ = backbone.step(row.expand(slots, -1))
    with torch.no_grad():
        expected = model.hidden(inputs[None], use_cache=False).last_hidden_state[0, -1]
    torch.testing.assert_close(hidden[0], expected, atol=1e-5, rtol=1e-5)
    return hidden[0]


def test_joining_keeps_every_value_and_takes_no_memory():
    model = small_model(head="transformer")
    before, held = {name: value.clone() for name, value in model.state_dict().items()}, storages(model)
    StepBackbone(model, 1, 64)
    assert storages(model) == held
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    attention = model.backbone.base_model.layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == attention.v_proj.weight.untyped_storage().data_ptr()


def test_joined_parameters_are_joined_once():
    parts = [torch.nn.Parameter(torch.randn(rows, 3)) for rows in (2, 1, 4)]
    expected = torch.cat(parts).detach()
    with torch.no_grad():
        joined = join_rows(parts)
        again = join_rows(parts)
    assert torch.equal(joined, expected)
    assert torch.equal(again, expected)
    assert again.data_ptr() == joined.data_ptr() == parts[0].data_ptr()


def test_a_model_that_has_generated_is_saved_as_before(tmp_path):
    model = small_model(head="transformer")
    StepBackbone(model, 1, 64)
    model.save_pretrained(tmp_path)
    again = SpeechLM.from_pretrained(tmp_path)
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("slots", [1, 2])  # of several slots, the weights may have been laid out in a copy
@pytest.mark.parametrize("inference", [False, True])
def test_a_model_that_has_generated_goes_on_learning_and_generates_with_what_it_learnt(inference, slots):
    model = small_model(restless=1.0)
    with torch.inference_mode(inference):
        first = after_three_steps(model, slots)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batch = collate([example("Hello", 6, model.layout)], 0)
    before = model(**batch).loss
    before.backward()
    optimizer.step()
    assert model(**batch).loss < before
    assert not torch.allclose(after_three_steps(model, slots), first, atol=1e-3)

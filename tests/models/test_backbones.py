"""Any causal language model as a backbone: what is kept of it, what is added, in which precision."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from slmtk.data.collate import collate
from slmtk.errors import ConfigError
from slmtk.models.build import build_model
from slmtk.models.speech_lm import SpeechLM
from tests.helpers.small_models import FAMILIES, VOCABULARY, example, small_model, write_base


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_text_rows_are_kept_and_new_rows_stand_around_their_mean_in_both_matrices(tmp_path, family, tied):
    write_base(tmp_path, family, tied=tied)
    before = AutoModelForCausalLM.from_pretrained(tmp_path)
    model = small_model(tmp_path, restless=1.0)
    table, head = model.backbone.get_input_embeddings().weight, model.backbone.get_output_embeddings().weight
    assert (head is table) is tied
    for ours, theirs in ((table, before.get_input_embeddings()), (head, before.get_output_embeddings())):
        old = theirs.weight[:259]  # the base's rows beyond its tokenizer's stand for nothing
        assert ours.shape == (VOCABULARY.size, 32)
        assert torch.equal(ours[:259], old)
        torch.testing.assert_close(ours[259:], old.mean(0).expand_as(ours[259:]), atol=1e-4, rtol=0)
        assert not torch.equal(ours[259], ours[260])
    others = {
        name: value for name, value in before.state_dict().items() if "embed" not in name and "lm_head" not in name
    }
    for name, value in others.items():
        assert torch.equal(model.backbone.state_dict()[name], value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_one_step_of_training_lowers_the_loss_and_a_saved_model_is_the_same(tmp_path, family, tied):
    write_base(tmp_path / "base", family, tied=tied)
    model = small_model(tmp_path / "base", restless=1.0, speaker_dim=2)
    batch = collate([example("Hello", 6, model.layout, voice=True)], 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = model(**batch).loss
    first.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    optimizer.step()
    second = model(**batch).loss
    assert second < first
    model.save_pretrained(tmp_path / "model")
    again = SpeechLM.from_pretrained(tmp_path / "model").eval()
    assert again(**batch).loss.item() == pytest.approx(second.item(), abs=1e-6)
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    assert (again.backbone.lm_head.weight is again.get_input_embeddings().weight) is tied


def test_bf16_weights_are_trained_in_float32_and_loaded_in_what_is_asked_for(tmp_path):
    write_base(tmp_path / "base", "qwen2", tied=True, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "base/config.json").read_text())["dtype"] == "bfloat16"
    model = small_model(tmp_path / "base", restless=1.0, head="transformer")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path / "model")
    for dtype in (torch.float32, torch.bfloat16):
        again = SpeechLM.from_pretrained(tmp_path / "model", dtype=dtype)
        assert {parameter.dtype for parameter in again.parameters()} == {dtype}


def test_a_base_that_knows_fewer_tokens_than_the_text_tokenizer_is_refused(tmp_path):
    write_base(tmp_path, "llama", tied=True, rows=200)
    with pytest.raises(ConfigError, match="knows 200 tokens, the dataset's text tokenizer has 259"):
        small_model(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("head", "mlp"), ("head", "depth"), ("fusion", "concat")])
def test_settings_that_the_interleaved_layout_has_no_use_for_are_refused(name, value):
    settings = {"layout": "interleaved", "frames_per_step": 1, name: value}
    with pytest.raises(ConfigError, match=f"{name} '{value}' has no meaning in the interleaved layout"):
        build_model(settings, VOCABULARY.to_dict(), base="tiny", size="xs")

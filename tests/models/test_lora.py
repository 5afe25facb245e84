"""LoRA: trained, saved, merged and read again, the model answers the same; tied embeddings stay tied."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen2Config

from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError
from slmtk.models.build import build_model
from slmtk.models.lora import SPEECH_PARTS, add_lora, load_adapter, merge_lora, save_adapter
from slmtk.models.speech_lm import SpeechLM
from tests.helpers.tone import VoicedToneCodec

pytest.importorskip("peft")
VOCABULARY = Vocabulary(259, VoicedToneCodec.spec)
SETTINGS = {"frames_per_step": 2, "fusion": "concat", "speaker_dim": 1}


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request, tmp_path):
    torch.manual_seed(1)
    settings = Qwen2Config(
        vocab_size=270,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=48,
        tie_word_embeddings=request.param,
    )
    AutoModelForCausalLM.from_config(settings).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def build(base, seed):
    torch.manual_seed(seed)
    return build_model(SETTINGS, VOCABULARY.to_dict(), base=str(base), size="s")


def adapted(base, seed=2):
    """A model with LoRA whose every trained weight has moved."""
    model = build(base, seed)
    adapter = add_lora(model, 4)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    return model, adapter


@torch.no_grad()
def scores(model):
    ids = torch.randint(0, VOCABULARY.size, (2, 7, 4), generator=torch.Generator().manual_seed(3))
    placeholder, speaker = torch.tensor([[0, 2], [1, 3]]), torch.tensor([[0.3], [0.7]])
    hidden = model.hidden(model.embed(ids, placeholder, speaker)).last_hidden_state
    return torch.cat([model.text_scores(hidden), *(head(hidden) for head in model.heads)], dim=-1)


def is_tied(model):
    return model.backbone.get_output_embeddings().weight is model.backbone.get_input_embeddings().weight


def test_merged_saved_and_read_again_it_answers_the_same_and_ties_as_before(base, tmp_path):
    model, adapter = adapted(base)
    before = scores(model)
    tied = is_tied(build(base, 2))
    merge_lora(adapter, model)
    assert is_tied(model) == tied
    model.save_pretrained(tmp_path / "out")
    again = SpeechLM.from_pretrained(tmp_path / "out")
    assert is_tied(again) == tied
    assert not any("lora" in key or "token_adapter" in key for key in again.state_dict())
    torch.testing.assert_close(scores(model), before, rtol=0, atol=1e-5)
    torch.testing.assert_close(scores(again), before, rtol=0, atol=1e-5)


def test_the_adapter_alone_gives_the_model_back_on_a_fresh_base(base, tmp_path):
    model, adapter = adapted(base)
    save_adapter(adapter, model, tmp_path / "adapter")
    fresh = build(base, 9)  # other new rows, heads, fusion and projection
    assert not torch.allclose(scores(fresh), scores(model), atol=1e-2)
    load_adapter(fresh, tmp_path / "adapter")
    torch.testing.assert_close(scores(fresh), scores(model), rtol=0, atol=1e-6)


def test_new_rows_heads_fusion_and_projection_are_trained_and_old_weights_are_not(base):
    model, adapter = adapted(base)
    merge_lora(adapter, model)
    untouched, old = build(base, 2), AutoModelForCausalLM.from_pretrained(base)
    table = model.backbone.get_input_embeddings().weight
    assert torch.equal(table[:259], old.get_input_embeddings().weight[:259])
    moved = (table != untouched.backbone.get_input_embeddings().weight).all(dim=1)
    assert moved[259:].all()
    output = model.backbone.get_output_embeddings().weight
    assert torch.equal(output[:259], old.get_output_embeddings().weight[:259])
    assert (output[259:] != untouched.backbone.get_output_embeddings().weight[259:]).all()
    for part in ("heads", "fusion", "speaker"):
        ours, theirs = getattr(model, part).state_dict(), getattr(untouched, part).state_dict()
        still = [key for key in ours if torch.equal(ours[key], theirs[key])]
        assert still == (["mean", "scale"] if part == "speaker" else [])


def test_targets_choose_the_layers_and_unknown_ones_are_refused(base, tmp_path):
    model = build(base, 2)
    adapter = add_lora(model, 2, targets="q_proj, v_proj")
    save_adapter(adapter, model, tmp_path / "adapter")
    keys = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    layers = {key.split(".lora_")[0].rpartition(".")[2] for key in keys if "lora_" in key}
    assert layers == {"q_proj", "v_proj"}
    with pytest.raises(ConfigError, match="'nowhere' cannot be used"):
        add_lora(build(base, 2), 2, targets="nowhere")


def test_another_models_adapter_is_refused(base, tmp_path):
    model, adapter = adapted(base)
    save_adapter(adapter, model, tmp_path / "adapter")
    torch.manual_seed(1)
    other = build_model({**SETTINGS, "frames_per_step": 1}, VOCABULARY.to_dict(), base=str(base), size="s")
    with pytest.raises(FormatError, match="another model: they differ in "):
        load_adapter(other, tmp_path / "adapter")
    (tmp_path / "adapter" / SPEECH_PARTS).unlink()
    with pytest.raises(FormatError, match="has no speech_parts"):
        load_adapter(other, tmp_path / "adapter")

"""Examples that share a row cost what they cost alone."""

from types import SimpleNamespace

import pytest
import torch
from transformers import MambaConfig, MambaModel

from slmtk.data.collate import IGNORE, collate, collate_packed, make_example
from slmtk.data.prompts import qa_prompt
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.errors import ConfigError, ShapeError
from slmtk.models import segments
from slmtk.models.attention import check_packing, run_packed
from tests.helpers.small_models import FAMILIES, VOCABULARY, example, small_model, write_base

CASES = [
    {"layout": "grouped"},
    {"layout": "grouped", "head": "transformer"},
    {"layout": "grouped", "head": "depth", "fusion": "concat"},
    {"layout": "delayed"},
    {"layout": "interleaved"},
]


def examples(layout, voice=False):
    return [example(text, frames, layout, voice=voice) for text, frames in (("One", 5), ("Two three", 3), ("Four", 8))]


def assert_same_losses(ours, theirs):
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.text_loss, theirs.text_loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.head_losses, theirs.head_losses, atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.num_speech_targets, theirs.num_speech_targets)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("settings", CASES, ids=lambda case: "-".join(case.values()))
def test_packed_losses_are_the_padded_ones(tmp_path, family, settings):
    write_base(tmp_path, family, tied=True)
    model = small_model(tmp_path, restless=2.0, **settings)
    a, b, c = examples(model.layout)
    with torch.no_grad():
        padded = model(**collate([a, b, c], 0))
        assert_same_losses(model(**collate_packed([[a, b, c]], 0)), padded)
        assert_same_losses(model(**collate_packed([[c, a], [b]], 0, length=200)), padded)


@pytest.mark.parametrize("task", ["sqa", "sqa-speech"])
@pytest.mark.parametrize("settings", CASES, ids=lambda case: "-".join(case.values()))
def test_answers_to_spoken_questions_cost_the_same_packed(settings, task):
    model = small_model(restless=2.0, speaker_dim=2, **settings)
    bytes_ = load_text_tokenizer("bytes")
    random = torch.Generator().manual_seed(0)
    prompt = qa_prompt(None, None if task == "sqa-speech" else "Two", bytes_, VOCABULARY, speaker_aware=True)
    rows = []
    for asked, frames in ((7, 5), (2, 3), (4, 8)):
        codes, question = (torch.randint(0, 3, (3, count), generator=random) for count in (frames, asked))
        speaker = torch.tensor([float(frames), -1.0])
        # The last is the one before with another question.
        for heard in (question, (question + 1) % 3):
            rows.append(make_example(prompt, codes, VOCABULARY, model.layout, speaker, question=heard))
    a, other, b, _, c, _ = rows
    with torch.no_grad():
        padded = model(**collate([a, b, c], 0))
        assert_same_losses(model(**collate_packed([[a, b, c]], 0)), padded)
        assert_same_losses(model(**collate_packed([[c, a], [b]], 0, length=400)), padded)
        assert (model(**collate([other, b, c], 0)).loss - padded.loss).abs() > 1e-4


@pytest.mark.parametrize("attention", ["sdpa", "eager", "by example"])
@pytest.mark.parametrize("head", ["linear", "transformer"])
def test_an_examples_loss_does_not_know_who_stands_beside_it(attention, head):
    model = small_model(restless=2.0, head=head, speaker_dim=2)
    if attention == "by example":
        model.prepare_packing(by_example=True)
        assert model.backbone.config._attn_implementation == segments.NAME
    else:
        model.set_attention(attention)
    a, b, c = examples(model.layout, voice=True)
    with torch.no_grad():
        alone = model(**collate([a], 0))
        for before, after in ([b, []], [c, b], [[], c], [b, c]):
            row = [*([before] if before else []), a, *([after] if after else [])]
            batch = collate_packed([row], 0, length=300)
            others = batch["segments"] != (2 if before else 1)
            batch["text_labels"][others] = IGNORE
            batch["speech_labels"][others] = IGNORE
            assert_same_losses(model(**batch), alone)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_attention_by_example_has_the_gradients_of_the_mask(tmp_path, family, checkpointing):
    write_base(tmp_path, family, tied=True)
    gradients = []
    for by_example in (False, True):
        model = small_model(tmp_path, restless=2.0).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.prepare_packing(by_example=by_example)
        a, b, c = examples(model.layout)
        model(**collate_packed([[c, a], [b]], 0, length=200)).loss.backward()
        gradients.append({name: value.grad for name, value in model.named_parameters() if value.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, theirs in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], theirs, atol=1e-5, rtol=1e-3, msg=name)


def test_a_sliding_window_is_kept_within_an_example():
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 12, 4, generator=generator)
    borders = [(0, 0, 8), (0, 8, 12)]
    found, _ = segments._attend(None, query, key, value, None, borders=borders, sliding_window=3)
    at = torch.arange(12)
    seen = (at[:, None] >= at) & (at[:, None] - at < 3) & ((at[:, None] >= 8) == (at >= 8))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, seen)
    torch.testing.assert_close(found, expected.transpose(1, 2))


def test_without_positions_that_begin_again_neighbours_would_be_seen():
    """So that the tests above do not pass because nobody looks back."""
    model = small_model(restless=2.0)
    a, b, _ = examples(model.layout)
    batch = collate_packed([[b, a]], 0)
    right = model(**batch).loss
    batch["position_ids"] = torch.arange(batch["position_ids"].shape[1])[None]
    assert (model(**batch).loss - right).abs() > 1e-3
    with pytest.raises(ShapeError, match="position_ids"):
        model(**{**batch, "position_ids": None})


def test_for_flash_attention_rows_are_laid_behind_each_other():
    """It tells examples apart in a batch of one row alone; any transformer gives the same answer for such a row."""
    model = small_model(restless=2.0)
    batch = collate_packed([examples(model.layout)[:2], examples(model.layout)[2:]], 0)
    seen = []

    class Flash:
        config = SimpleNamespace(_attn_implementation="flash_attention_2")

        def __call__(self, inputs_embeds, **arguments):
            seen.append(inputs_embeds.shape[0])
            return model.backbone.base_model(inputs_embeds=inputs_embeds, **arguments)

    with torch.no_grad():
        embeddings = model.embed(batch["input_ids"])
        flat = run_packed(Flash(), embeddings, batch["position_ids"], use_cache=False).last_hidden_state
        rows = model.hidden(embeddings, position_ids=batch["position_ids"], use_cache=False).last_hidden_state
    assert seen == [1]
    torch.testing.assert_close(flat, rows, atol=1e-4, rtol=1e-4)


def test_attention_is_chosen_by_name_for_all_that_reads_the_sequence():
    model = small_model(head="transformer")
    model.set_attention("eager")
    assert model.backbone.config._attn_implementation == "eager"
    assert model.head_body.config._attn_implementation == "eager"
    model.set_attention("auto")
    assert model.backbone.config._attn_implementation == "eager"
    with pytest.raises(ConfigError, match="expected one of auto, sdpa, flash, flex, eager"):
        model.set_attention("quick")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="may be able to")
@pytest.mark.parametrize("name", ["flash", "flex"])
def test_attention_that_this_machine_cannot_do_is_refused_in_a_line(name):
    with pytest.raises(ConfigError, match=f"{name}.*--attention sdpa"):
        small_model().set_attention(name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("head", ["linear", "transformer"])
def test_flex_attention_heeds_the_borders_too(head):
    model = small_model(restless=2.0, head=head).cuda()
    row = {name: value.cuda() for name, value in collate_packed([examples(model.layout)], 0, length=256).items()}
    expected = model(**row)
    model.set_attention("flex")
    found = model(**row)
    found.loss.backward()
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_we_know_heed_the_borders(tmp_path, family):
    write_base(tmp_path, family, tied=True)
    small_model(tmp_path).prepare_packing(by_example=False)


def test_a_backbone_that_looks_over_the_border_is_refused():
    torch.manual_seed(0)
    recurrent = MambaModel(MambaConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, state_size=4))

    class Taking(torch.nn.Module):
        """Takes the positions that others take, and does nothing with them."""

        config, dtype, device = recurrent.config, torch.float32, torch.device("cpu")

        def get_input_embeddings(self):
            return recurrent.get_input_embeddings()

        def forward(self, inputs_embeds, position_ids=None, use_cache=False):
            return recurrent(inputs_embeds=inputs_embeds, use_cache=use_cache)

    with pytest.raises(ConfigError, match="'mamba' model sees the example before"):
        check_packing(Taking())

"""What enters the backbone, what leaves it and every score are the reference's (arXiv 2506.12537, released code)."""

import functools

import pytest
import torch
from safetensors.torch import load_file

from slmtk.data.collate import collate, make_example
from slmtk.data.prompts import tts_prompt
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.models.released import released_tokens
from tests.helpers.released_checkpoint import HEAD_ORDER, conformance, read, released_model

CASES = ["h3", "h6", "h12", "h12_spk"]


@pytest.fixture(scope="module")
def reference(shared_data):
    return conformance(shared_data)


@functools.cache
def model_of(reference, case):
    return released_model(reference, case)


def examples_of(reference, case):
    model = model_of(reference, case)
    speaker_aware = case.endswith("_spk")
    for utterance in read(reference, f"inputs_{case}.json")["utterances"]:
        prompt = tts_prompt(utterance["text"], ByteTokenizer(), model.vocabulary, speaker_aware=speaker_aware)
        vector = torch.tensor(utterance["spk_emb"]).reshape(-1) if speaker_aware else None
        yield utterance, make_example(prompt, torch.tensor(utterance["codes"]), model.vocabulary, model.layout, vector)


def run(model, batch):
    """What enters the backbone and what leaves it, float [B, L, D] each."""
    inside = {key: batch[key] for key in ("input_ids", "placeholder", "speaker") if key in batch}
    with torch.no_grad():
        embeddings = model.embed(**inside)
        return embeddings, model.hidden(embeddings, use_cache=False).last_hidden_state


@pytest.mark.parametrize("case", CASES)
def test_ids_and_labels_of_every_position_are_the_references(reference, case):
    heads = model_of(reference, case).layout.num_heads
    for utterance, example in examples_of(reference, case):
        speech = torch.tensor(utterance["speech_mask"]).bool()
        for head, name in enumerate(HEAD_ORDER[:heads]):
            assert example.input_ids[:, head].tolist() == utterance["input_ids"][name]
            ids = torch.tensor(utterance["labels"][name])
            # The reference's head rows are ids less the offset of their letter; <eosp> and the pad follow the codes.
            first = released_tokens(259, (1024,) * 3, next_token=False)[f"<{name[0]}0>"]
            rows = torch.where(ids >= 3335, ids - 3335 + 1024, ids - first)
            assert example.speech_labels[:, head].tolist() == torch.where(speech, rows, -100).tolist()
        text = torch.where(speech, -100, torch.tensor(utterance["labels"]["a1"]))
        assert example.text_labels.tolist() == text.tolist()


@pytest.mark.parametrize("case", CASES)
def test_inputs_hidden_states_and_scores_are_the_references(reference, case):
    model = model_of(reference, case)
    expected = read(reference, f"expected_{case}.json")["logits"]
    rows = load_file(reference / expected["file"])
    example = list(examples_of(reference, case))[expected["utterance"]][1]
    embeddings, hidden = run(model, collate([example], pad_id=256))
    places = expected["positions"]
    torch.testing.assert_close(embeddings[0, places], rows["inputs_embeds"], atol=2e-5, rtol=0)
    torch.testing.assert_close(hidden[0, places], rows["hidden"], atol=2e-5, rtol=0)
    for name, ours in (("inputs_embeds", embeddings), ("hidden", hidden)):
        torch.testing.assert_close(ours[0, places], torch.tensor(expected[name]), atol=2e-5, rtol=0)
    with torch.no_grad():
        scores = {"text": model.text_scores(hidden[0, places])}
        for head, name in enumerate(HEAD_ORDER[: model.layout.num_heads]):
            scores[name] = model.heads[head](hidden[0, places])
    assert scores.keys() | {"inputs_embeds", "hidden"} == rows.keys()
    for name, ours in scores.items():
        torch.testing.assert_close(ours, rows[name], atol=1e-4, rtol=0)
        assert ours.argmax(-1).tolist() == rows[name].argmax(-1).tolist()
        digests = expected["text"] if name == "text" else expected["heads"][name]
        for score, digest in zip(ours, digests, strict=True):
            best = score.topk(2)
            assert (len(score), int(best.indices[0])) == (digest["n"], digest["argmax"])
            found = [score.logsumexp(-1), score.mean(), best.values[0] - best.values[1], *score[digest["sample_index"]]]
            wanted = [digest["logsumexp"], digest["mean"], digest["top_gap"], *digest["sample"]]
            assert [float(value) for value in found] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_losses_of_each_utterance_alone_are_the_references(reference, case):
    model = model_of(reference, case)
    expected = read(reference, f"expected_{case}.json")["utterances"]
    for (_, example), wanted in zip(examples_of(reference, case), expected, strict=True):
        check_losses(model, collate([example], pad_id=256), wanted)


def test_losses_with_the_speakers_exchanged_are_the_references(reference):
    model = model_of(reference, "h12_spk")
    batch = collate([example for _, example in examples_of(reference, "h12_spk")], pad_id=256)
    batch["speaker"] = batch["speaker"].flip(0)
    expected = read(reference, "expected_h12_spk.json")
    check_losses(model, batch, expected["batch_with_speakers_swapped"])
    # The weights are such that it matters who speaks, so this test can fail.
    assert abs(expected["batch_with_speakers_swapped"]["total_loss"] - expected["batch"]["total_loss"]) > 1e-3


def check_losses(model, batch, wanted):
    with torch.no_grad():
        out = model(**batch)
    names = HEAD_ORDER[: model.layout.num_heads]
    assert out.text_loss.item() == pytest.approx(wanted["text_loss"], abs=1e-5)
    assert out.head_losses.tolist() == pytest.approx([wanted["head_loss"][name] for name in names], abs=1e-5)
    assert out.loss.item() == pytest.approx(wanted["total_loss"], abs=1e-5)
    assert int(out.num_speech_targets) == wanted["n_speech_targets"]
    top1 = (out.head_correct / out.num_speech_targets).tolist()
    assert top1 == pytest.approx([wanted["head_top1"][name] for name in names], abs=1e-6)

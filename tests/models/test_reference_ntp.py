"""Next-token prediction is the reference's (arXiv 2506.12537, released code): ids, losses, scores and greedy tokens.

The reference's table has a row more than ours: [ta] and [ua], which no prompt uses, stand in its softmax. Ours keeps
the first as its pad and has no place for the second, so the tests that compare a softmax put that row back.
"""

import functools

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import DynamicCache

from slmtk.data.collate import collate, make_example
from slmtk.data.prompts import tts_prompt
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.models.generate import generate
from slmtk.models.released import released_tokens, source_rows
from slmtk.models.sampling import Sampling, penalize
from tests.helpers.released_checkpoint import conformance, read, released_model, released_weights

TOKENS = released_tokens(259, (1024,) * 3, next_token=True)


@pytest.fixture(scope="module")
def reference(shared_data):
    return conformance(shared_data)


@functools.cache
def model_of(reference):
    return released_model(reference, "ntp")


@functools.cache
def theirs_of(reference):
    """Row of the reference's table for each of our ids."""
    return torch.tensor(source_rows(TOKENS, model_of(reference).vocabulary))


@functools.cache
def ours_of(reference):
    """Our id for each of the reference's; [ua] has none and stays where it is not looked for."""
    ours = torch.full((len(theirs_of(reference)) + 1,), -1)
    ours[theirs_of(reference)] = torch.arange(len(theirs_of(reference)))
    return ours


def all_scores(reference, hidden):
    """Our scores in the reference's order, with that of [ua], float [..., 3338]."""
    model = model_of(reference)
    unused = released_weights(reference, "ntp")["model.embed_tokens.weight"][TOKENS["[ua]"]].float()
    scores = torch.empty(*hidden.shape[:-1], model.vocabulary.size + 1)
    scores[..., theirs_of(reference)] = model.text_scores(hidden)
    scores[..., TOKENS["[ua]"]] = hidden @ unused
    return scores


def examples_of(reference):
    model = model_of(reference)
    for utterance in read(reference, "inputs_ntp.json")["utterances"]:
        prompt = tts_prompt(utterance["text"], ByteTokenizer(), model.vocabulary, speaker_aware=False)
        yield utterance, make_example(prompt, torch.tensor(utterance["codes"]), model.vocabulary, model.layout)


def hidden_of(model, batch):
    with torch.no_grad():
        embeddings = model.embed(batch["input_ids"])
        return model.hidden(embeddings, attention_mask=batch["attention_mask"], use_cache=False).last_hidden_state


def test_the_numbering_is_the_references(reference):
    for kind in ("mtp", "ntp"):
        tokens = released_tokens(259, (1024,) * 3, next_token=kind == "ntp")
        for name, place in read(reference, "tokens.json")[kind].items():
            if isinstance(place, list):
                letter = name[1]
                assert [tokens[f"<{letter}0>"], tokens[f"<{letter}1023>"]] == place
            elif place >= 259:
                assert tokens[name] == place


def test_ids_and_labels_of_every_position_are_the_references(reference):
    theirs = theirs_of(reference)
    for utterance, example in examples_of(reference):
        assert theirs[example.input_ids[:, 0]].tolist() == utterance["input_ids"]
        labels = example.text_labels
        assert torch.where(labels < 0, labels, theirs[labels]).tolist() == utterance["labels"]


def test_scores_of_every_token_are_the_references(reference):
    expected = read(reference, "expected_ntp.json")["logits"]
    example = list(examples_of(reference))[expected["utterance"]][1]
    hidden = hidden_of(model_of(reference), collate([example], pad_id=256))[0, expected["positions"]]
    scores = all_scores(reference, hidden).detach()
    torch.testing.assert_close(scores, load_file(reference / expected["file"])["text"], atol=1e-4, rtol=0)
    for score, digest in zip(scores, expected["text"], strict=True):
        assert int(score.argmax()) == digest["argmax"]
        assert float(score.logsumexp(-1)) == pytest.approx(digest["logsumexp"], abs=1e-4)


@pytest.mark.parametrize("which", [0, 1, None])
def test_loss_and_top1_are_the_references(reference, which):
    model, expected = model_of(reference), read(reference, "expected_ntp.json")
    wanted = expected["batch"] if which is None else expected["utterances"][which]
    examples = [example for _, example in examples_of(reference)]
    batch = collate(examples if which is None else [examples[which]], pad_id=256)
    hidden, labels = hidden_of(model, batch)[:, :-1], batch["text_labels"][:, 1:]
    kept = labels != -100
    targets = theirs_of(reference)[labels[kept]]
    scores = all_scores(reference, hidden[kept]).detach()
    assert len(targets) == wanted["n_targets"]
    assert F.cross_entropy(scores, targets).item() == pytest.approx(wanted["loss"], abs=1e-5)
    right = scores.argmax(-1) == targets
    codes = (targets >= TOKENS["<a0>"]) & (targets <= TOKENS["<c1023>"])
    assert right.float().mean().item() == pytest.approx(wanted["top1_all"], abs=1e-6)
    assert right[codes].float().mean().item() == pytest.approx(wanted["top1_speech_codes"], abs=1e-6)
    loss = F.cross_entropy(scores[codes], targets[codes]).item()
    assert loss == pytest.approx(wanted["loss_speech_codes_only"], abs=1e-5)
    # Our own loss is that less what [ua] takes of the probability.
    with torch.no_grad():
        out = model(**batch)
    taken = -torch.log1p(-scores.softmax(-1)[:, TOKENS["[ua]"]]).mean().item()
    assert 0 < taken < 1e-3
    assert out.loss.item() == pytest.approx(wanted["loss"] - taken, abs=1e-5)


@pytest.mark.parametrize("run", [0, 1])
def test_greedy_tokens_are_the_references_one_by_one(reference, run):
    """Its generation is free: any token of the table may come. Each is fed back as the reference fed it."""
    model, wanted = model_of(reference), read(reference, "generate_ntp.json")["runs"][run]
    cache = DynamicCache()
    ours = ours_of(reference)
    fed = ours[torch.tensor(wanted["prompt_ids"])]
    chosen = torch.zeros(3338, dtype=torch.bool)
    found = []
    for token in wanted["token_ids"]:
        with torch.no_grad():
            embeddings = model.embed(fed[None, :, None])
            hidden = model.hidden(embeddings, past_key_values=cache, use_cache=True).last_hidden_state[0, -1]
            scores = penalize(all_scores(reference, hidden), chosen, wanted["repetition_penalty"])
        found.append(int(scores.argmax()))
        chosen[found[-1]] = True
        fed = ours[torch.tensor([token])]
    assert found == wanted["token_ids"]
    best = scores.topk(2).values
    assert float(best[0] - best[1]) >= wanted["min_top2_gap"] - 1e-4


@pytest.mark.parametrize("run", [0, 1])
def test_speech_is_the_references_until_it_leaves_the_order_of_streams(reference, run):
    """Ours then goes on with the best code of the stream whose turn it is: frames stay whole."""
    model, wanted = model_of(reference), read(reference, "generate_ntp.json")["runs"][run]
    assert wanted["token_ids"][0] == TOKENS["<sosp>"]
    offsets = [TOKENS[f"<{letter}0>"] for letter in "abc"]
    codes = []
    for step, token in enumerate(wanted["token_ids"][1:]):
        code = token - offsets[step % 3]
        if not 0 <= code < 1024:
            break
        codes.append(code)
    assert len(codes) >= 27  # nine frames or more: enough to tell
    frames = len(codes) // 3
    sampling = Sampling(
        repetition_penalty=wanted["repetition_penalty"], max_seconds=(3 * frames + 0.5) / 240, loop_seconds=0
    )
    prompt = ours_of(reference)[torch.tensor(wanted["prompt_ids"])].tolist()
    result = generate(model, prompt, None, None, sampling, torch.Generator())
    assert result.codes.T.flatten().tolist() == codes[: 3 * frames]
    assert result.reason == "no_end"

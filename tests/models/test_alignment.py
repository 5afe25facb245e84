"""Every head's targets stand where they should, with numbers worked out by hand."""

import math

import pytest
import torch

from slmtk.data.collate import IGNORE, codes_of_labels, collate, make_example
from slmtk.data.prompts import Prompt, Stretch, Words
from slmtk.data.vocabulary import Vocabulary
from slmtk.layout import Layout
from slmtk.models.build import build_model
from slmtk.spec import CodecSpec, Stream

# Text 0..9; [Human] 10, [Assistant] 11, <sosp> 12, <|placeholder|> 13; x: 14..17; y: 18..20; <eosp> 21; <pad> 22.
SPEC = CodecSpec("small", 16_000, 200, (Stream("x", 4), Stream("y", 3)), speaker_dim=2, family="decoupled")
VOCABULARY = Vocabulary(10, SPEC)
SPOKEN = (Words([7, 12], loss=True), Stretch("row", loss=True), Words([8, 0], loss=True))
PROMPT = Prompt((Words([1, 10, 5, 13, 11], loss=False), *SPOKEN), placeholder=3)
PLAIN = Prompt((Words([1, 10, 5, 6, 11], loss=False), *SPOKEN))
CODES = torch.tensor([[0, 3, 1], [2, 0, 1]])  # K = 2, T = 3


def test_a_grouped_example_lines_up_ids_and_labels():
    example = make_example(PROMPT, CODES, VOCABULARY, Layout("grouped", 2, 2))
    assert example.input_ids[:, 0].tolist() == [1, 10, 5, 13, 11, 7, 12, 14, 15, 21, 8, 0]
    assert example.input_ids[7].tolist() == [14, 20, 17, 18]  # x0 y2 | x3 y0
    assert example.input_ids[8].tolist() == [15, 19, 22, 22]  # x1 y1 | <pad> <pad>
    assert example.input_ids[9].tolist() == [21, 21, 21, 21]
    none = IGNORE
    assert example.text_labels.tolist() == [none] * 5 + [7, 12] + [none] * 3 + [8, 0]
    assert example.speech_labels[:7].eq(none).all()
    assert example.speech_labels[10:].eq(none).all()
    # Rows of a head: its codes, then <eosp> (4 for x, 3 for y), then <pad> (5 and 4) beyond the first frame.
    assert example.speech_labels[7:10].tolist() == [[0, 2, 3, 0], [1, 1, 5, 4], [4, 3, 4, 3]]
    assert example.placeholder == 3


def test_an_interleaved_example_has_its_codes_among_the_text_labels():
    example = make_example(PROMPT, CODES, VOCABULARY, Layout("interleaved", 2))
    codes = [14, 20, 17, 18, 15, 19]  # x0 y2 x3 y0 x1 y1
    assert example.input_ids[:, 0].tolist() == [1, 10, 5, 13, 11, 7, 12, *codes, 21, 8, 0]
    assert example.text_labels.tolist() == [IGNORE] * 5 + [7, 12, *codes, 21, 8, 0]
    assert example.speech_labels.eq(IGNORE).all()


@pytest.mark.parametrize("layout", [Layout("interleaved", 2), *(Layout("grouped", 2, g) for g in (1, 2, 3, 4))])
def test_codes_read_back_from_the_labels_are_the_codes(layout):
    example = make_example(PROMPT, CODES, VOCABULARY, layout)
    assert torch.equal(codes_of_labels(example, VOCABULARY, layout), CODES)


def test_a_batch_is_padded_on_the_right_without_labels():
    layout = Layout("grouped", 2, 2)
    examples = [make_example(PROMPT, CODES, VOCABULARY, layout), make_example(PROMPT, CODES[:, :2], VOCABULARY, layout)]
    batch = collate(examples, pad_id=0)
    assert batch["attention_mask"].sum(1).tolist() == [12, 11]
    assert batch["input_ids"][1, 11].tolist() == [0, 0, 0, 0]
    assert batch["text_labels"][1, 11] == IGNORE
    assert batch["speech_labels"][1, 11].eq(IGNORE).all()


def small_model(**settings):
    torch.manual_seed(0)
    settings = {"layout": "grouped", "frames_per_step": 2, **settings}
    return build_model(settings, VOCABULARY.to_dict(), base="tiny", size="xs").eval()


def test_the_loss_scores_each_position_against_the_next_positions_labels():
    """Hidden states that only know their own position make every score, and so the loss, known by hand.

    Position p's state is p times a unit vector; the heads and the text head turn it into scores that are p at row 0 and
    0 elsewhere. So a target of row 0 at place t costs log(1 + (V - 1) e^-(t-1)), any other target that plus (t - 1).
    """
    model = small_model()
    width = model.backbone.config.hidden_size

    def positions_as_states(inputs_embeds, **_):
        batch, length, _width = inputs_embeds.shape
        states = torch.zeros(batch, length, width)
        states[..., 0] = torch.arange(length)
        return type("Output", (), {"last_hidden_state": states})()

    model.hidden = positions_as_states
    with torch.no_grad():
        for layer in [*model.heads, model.backbone.lm_head]:
            layer.weight.zero_()
            layer.weight[0, 0] = 1.0
            if layer.bias is not None:
                layer.bias.zero_()
    example = make_example(PLAIN, CODES, VOCABULARY, model.layout)
    out = model(**collate([example], pad_id=0))

    def cost(place, row, size):
        score = place - 1  # the state that predicts `place` is the one before it
        return math.log(math.exp(score) + size - 1) - (score if row == 0 else 0)

    # Text labels: 7 at 5, <sosp> at 6, 8 at 10, 0 at 11, of 23 tokens. <sosp>'s own place (6) predicts step 1 (at 7).
    text = (cost(5, 7, 23) + cost(6, 12, 23) + cost(10, 8, 23) + cost(11, 0, 23)) / 4
    heads = [
        (cost(7, 0, 5) + cost(8, 1, 5) + cost(9, 4, 5)) / 3,  # x, frame 1: 4 codes + <eosp>
        (cost(7, 2, 4) + cost(8, 1, 4) + cost(9, 3, 4)) / 3,  # y, frame 1
        (cost(7, 3, 6) + cost(8, 5, 6) + cost(9, 4, 6)) / 3,  # x, frame 2: one row more, <pad>
        (cost(7, 0, 5) + cost(8, 4, 5) + cost(9, 3, 5)) / 3,  # y, frame 2
    ]
    assert out.text_loss.item() == pytest.approx(text, abs=1e-5)
    assert out.head_losses.tolist() == pytest.approx(heads, abs=1e-5)
    assert out.loss.item() == pytest.approx(0.2 * text + 0.8 * sum(heads) / 4, abs=1e-5)
    assert out.head_correct.tolist() == [1, 0, 0, 1]  # row 0 is always first
    assert out.num_speech_targets.item() == 3


def test_a_step_is_the_mean_of_its_codes_embeddings_and_the_placeholder_is_the_speaker():
    model = small_model(speaker_dim=2)
    example = make_example(PROMPT, CODES, VOCABULARY, model.layout, torch.tensor([0.5, -1.0]))
    batch = collate([example], pad_id=0)
    fused = model.embed(batch["input_ids"], batch["placeholder"], batch["speaker"])[0]
    table = model.get_input_embeddings().weight
    torch.testing.assert_close(fused[8], (table[15] + table[19] + 2 * table[22]) / 4)
    torch.testing.assert_close(fused[9], table[21])
    torch.testing.assert_close(fused[0], table[1])
    hidden = torch.nn.functional.silu(model.speaker.fc1(torch.tensor([0.5, -1.0])))
    torch.testing.assert_close(fused[3], model.speaker.fc2(hidden))


def test_concat_fusion_touches_steps_of_codes_alone():
    model = small_model(fusion="concat")
    example = make_example(PROMPT, CODES, VOCABULARY, model.layout)
    ids = example.input_ids[None]
    fused = model.embed(ids)[0]
    table = model.get_input_embeddings().weight
    torch.testing.assert_close(fused[7], model.fusion(table[torch.tensor([14, 20, 17, 18])]))
    for place in (0, 6, 9, 11):
        torch.testing.assert_close(fused[place], table[int(ids[0, place, 0])])


def test_losses_do_not_depend_on_batch_mates_beyond_the_mean():
    model = small_model()
    long, short = (make_example(PLAIN, codes, VOCABULARY, model.layout) for codes in (CODES, CODES[:, :2]))
    together = model(**collate([long, short], pad_id=0))
    alone = [model(**collate([example], pad_id=0)) for example in (long, short)]
    # 3 and 2 targets a head (steps and <eosp>).
    expected = (3 * alone[0].head_losses + 2 * alone[1].head_losses) / 5
    torch.testing.assert_close(together.head_losses, expected, atol=1e-5, rtol=0)


def test_a_saved_model_loads_with_the_same_losses(tmp_path):
    model = small_model(speaker_dim=2, head="mlp", fusion="concat")
    batch = collate([make_example(PROMPT, CODES, VOCABULARY, model.layout, torch.ones(2))], pad_id=0)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert torch.equal(again(**batch).head_losses, model(**batch).head_losses)
    assert again.backbone.lm_head.weight is again.backbone.model.embed_tokens.weight

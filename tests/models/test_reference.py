"""Our losses on the reference models' weights are the reference's (arXiv 2506.12537, released code)."""

import json

import pytest
import torch
from safetensors.torch import load_file

from slmtk.data.collate import collate, make_example
from slmtk.data.prompts import tts_prompt
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.models.config import SpeechLMConfig
from slmtk.models.generate import generate
from slmtk.models.sampling import Sampling
from slmtk.models.speech_lm import SpeechLM
from slmtk.spec import CodecSpec, Stream

HEAD_ORDER = [f"{letter}{frame}" for frame in (1, 2, 3, 4) for letter in "abc"]


@pytest.fixture
def reference(shared_data):
    folder = shared_data.parent / "conformance" / "speechlm"
    if not folder.is_dir():
        pytest.skip("no reference losses here")
    return folder


def load_reference_model(folder, heads, speaker):
    spec = CodecSpec("facodec", 16_000, 200, tuple(Stream(name, 1024) for name in "abc"), speaker_dim=256)
    vocabulary = Vocabulary(259, spec)
    settings = json.loads((folder / "config.json").read_text())
    backbone = {key: settings[key] for key in settings if not isinstance(settings[key], list) and "medusa" not in key}
    config = SpeechLMConfig(
        backbone={**backbone, "attn_implementation": "eager"},
        vocabulary=vocabulary.to_dict(),
        layout="grouped",
        frames_per_step=heads // 3,
        speaker_dim=256 if speaker else 0,
    )
    model = SpeechLM(config).eval()
    weights = {}
    for name, value in load_file(folder / f"model_h{heads}.safetensors").items():
        if name.startswith("speech_heads."):
            _, head, kind = name.split(".")
            weights[f"heads.{HEAD_ORDER.index(head)}.{kind}"] = value.float()
        else:
            weights[f"backbone.{name}"] = value.float()
    if speaker:
        for name, value in load_file(folder / "spk_proj_h12.safetensors").items():
            weights[name.replace("spk_proj.", "speaker.")] = value.float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert set(missing) <= {"backbone.lm_head.weight", "speaker.mean", "speaker.scale"}
    return model, vocabulary


@pytest.mark.parametrize(("heads", "speaker"), [(3, False), (6, False), (12, False), (12, True)])
def test_losses_and_top1_of_every_head_are_the_references(reference, heads, speaker):
    case = f"h{heads}" + ("_spk" if speaker else "")
    model, vocabulary = load_reference_model(reference, heads, speaker)
    tokenizer = load_text_tokenizer("bytes")
    examples = []
    for utterance in json.loads((reference / f"inputs_{case}.json").read_text())["utterances"]:
        prompt = tts_prompt(utterance["text"], tokenizer, vocabulary, speaker_aware=speaker)
        vector = torch.tensor(utterance["spk_emb"]).reshape(-1) if speaker else None
        example = make_example(prompt, torch.tensor(utterance["codes"]), vocabulary, model.layout, vector)
        for head in range(heads):
            assert example.input_ids[:, head].tolist() == utterance["input_ids"][HEAD_ORDER[head]]
        examples.append(example)
    expected = json.loads((reference / f"expected_{case}.json").read_text())["batch"]
    with torch.no_grad():
        out = model(**collate(examples, pad_id=tokenizer.eos_id))
    order = HEAD_ORDER[:heads]
    assert out.text_loss.item() == pytest.approx(expected["text_loss"], abs=1e-5)
    assert out.head_losses.tolist() == pytest.approx([expected["head_loss"][head] for head in order], abs=1e-5)
    assert out.loss.item() == pytest.approx(expected["total_loss"], abs=1e-5)
    top1 = (out.head_correct / out.num_speech_targets).tolist()
    assert top1 == pytest.approx([expected["head_top1"][head] for head in order], abs=1e-6)


@pytest.mark.parametrize(("heads", "speaker"), [(3, False), (12, False), (12, True)])
def test_greedy_codes_are_the_references(reference, heads, speaker):
    case = f"h{heads}" + ("_spk" if speaker else "")
    file = json.loads((reference / f"generate_{case}.json").read_text())
    voices = json.loads((reference / f"inputs_{case}.json").read_text())["utterances"]
    for run in file["runs"]:
        model, vocabulary = load_reference_model(reference, heads, speaker)
        with torch.no_grad():
            for head, rows in run.get("head_bias_add", {}).items():
                for row, value in rows.items():
                    model.heads[HEAD_ORDER.index(head)].bias[int(row)] += value
        speech_steps = [step for step in run["steps"] if step["mode"] == "speech"]
        rate = model.layout.steps_per_second(80)
        sampling = Sampling(
            repetition_penalty=run["repetition_penalty"], max_seconds=(len(speech_steps) + 0.5) / rate, loop_seconds=0
        )
        placeholder = run["prompt_ids"].index(vocabulary.placeholder) if speaker else None
        vector = torch.tensor(voices[file["spk_emb_utterance"]]["spk_emb"]).reshape(-1) if speaker else None
        result = generate(model, run["prompt_ids"], placeholder, vector, sampling, torch.Generator())
        ended = any(step["event"] == "eosp" for step in speech_steps)
        assert result.codes.tolist() == run["codes"], run["note"]
        assert result.reason == ("" if ended else "no_end")

"""A checkpoint as the released scripts leave it becomes a model folder: same losses, same codes, ready to speak."""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from slmtk import audio, plugins
from slmtk.cli.import_checkpoint import command
from slmtk.codecs.base import Card, Codec, Encoded
from slmtk.data.collate import collate, make_example
from slmtk.data.prompts import tts_prompt
from slmtk.errors import ConfigError, FormatError
from slmtk.models.generate import generate
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer
from slmtk.progress import SilentProgress
from slmtk.shards import open_codes
from slmtk.spec import CodecSpec, Stream
from slmtk.stages.import_checkpoint import ImportConfig, import_checkpoint
from slmtk.stages.synth import SynthConfig, synth
from tests.helpers.released_checkpoint import (
    HEAD_ORDER,
    conformance,
    read,
    released_weights,
    speech_tokens,
    write_checkpoint,
    write_config,
)


class PaperCodec(Codec):
    """Streams and rates of FACodec, without its networks: every frame of audio is the mean of its codes."""

    streams = tuple(Stream(name, 1024) for name in ("content1", "content2", "prosody"))
    spec = CodecSpec("facodec", 16_000, 200, streams, "decoupled", speaker_dim=256, weights_sha256="of a test")
    card: ClassVar[Card] = Card(spec)

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> Codec:
        return cls()

    def encode(self, wav):
        frames = wav.shape[1] // 200
        return Encoded(torch.zeros(len(wav), 3, frames, dtype=torch.int64), wav[:, :256])

    def decode(self, codes, speaker=None):
        return (codes.float().mean(1) / 1024).repeat_interleave(200, dim=1)


@pytest.fixture
def reference(shared_data):
    return conformance(shared_data)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """A machine without published weights, wherever the test runs."""
    monkeypatch.setattr("slmtk.codecs.weights.Published.is_cached", lambda self: False)


@pytest.fixture
def codec_here(monkeypatch):
    """Let "facodec" be a codec whose weights are on this machine."""
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda group, name: PaperCodec if name == "facodec" else load(group, name))


def run(source, out, **settings):
    return import_checkpoint(source, out, ImportConfig(**settings), SilentProgress())


@pytest.mark.parametrize(
    ("case", "files"), [("h3", "bin"), ("h6", "shards"), ("h12", "safetensors"), ("h12_spk", "safetensors")]
)
def test_losses_and_greedy_codes_of_the_imported_folder_are_the_references(
    reference, codec_here, tmp_path, case, files
):
    report = run(write_checkpoint(tmp_path / "source", reference, case, files=files), tmp_path / "model")
    heads = int(case.removesuffix("_spk")[1:])
    assert (report.heads, report.frames_per_step, report.layout) == (heads, heads // 3, "grouped")
    assert (report.speaker_aware, report.dtype, report.text_tokens) == (case.endswith("_spk"), "float16", 259)
    spoken = Synthesizer.load(tmp_path / "model")
    model = spoken.model
    examples = []
    utterances = read(reference, f"inputs_{case}.json")["utterances"]
    for utterance in utterances:
        prompt = tts_prompt(utterance["text"], spoken.tokenizer, model.vocabulary, speaker_aware=spoken.speaker_aware)
        vector = torch.tensor(utterance["spk_emb"]).reshape(-1) if spoken.speaker_aware else None
        codes = torch.tensor(utterance["codes"])
        examples.append(make_example(prompt, codes, model.vocabulary, model.layout, vector))
    expected = read(reference, f"expected_{case}.json")["batch"]
    with torch.no_grad():
        out = model(**collate(examples, pad_id=spoken.tokenizer.eos_id))
    assert out.loss.item() == pytest.approx(expected["total_loss"], abs=1e-5)
    wanted = [expected["head_loss"][name] for name in HEAD_ORDER[:heads]]
    assert out.head_losses.tolist() == pytest.approx(wanted, abs=1e-5)
    if case == "h6":
        return  # the reference has no generation for it
    file = read(reference, f"generate_{case}.json")
    runs = [wanted for wanted in file["runs"] if not wanted.get("head_bias_add")]
    assert runs
    for wanted in runs:
        steps = sum(step["mode"] == "speech" for step in wanted["steps"])
        rate = model.layout.steps_per_second(80)
        sampling = Sampling(
            repetition_penalty=wanted["repetition_penalty"], max_seconds=(steps + 0.5) / rate, loop_seconds=0
        )
        place = wanted["prompt_ids"].index(model.vocabulary.placeholder) if spoken.speaker_aware else None
        vector = None
        if spoken.speaker_aware:
            vector = torch.tensor(utterances[file["spk_emb_utterance"]]["spk_emb"]).reshape(-1)
        result = generate(model, wanted["prompt_ids"], place, vector, sampling, torch.Generator())
        assert result.codes.tolist() == wanted["codes"]


@pytest.mark.parametrize("case", ["ntp", "h12_spk"])
def test_synth_speaks_with_the_imported_folder(reference, codec_here, tmp_path, case):
    report = run(write_checkpoint(tmp_path / "source", reference, case), tmp_path / "model")
    assert report.codec_weights == "of a test"
    audio.write(tmp_path / "voice.wav", torch.sin(torch.arange(16_000) / 20) / 2, 16_000)
    config = SynthConfig(tmp_path / "model", (tmp_path / "voice.wav",), Sampling(max_seconds=0.5), device="cpu")
    done = synth("He said it.", tmp_path / "speech", config, SilentProgress())
    assert done.utterances == 1
    (row,) = open_codes(tmp_path / "speech").rows()
    assert row.codes.shape[0] == 3
    assert 0 < row.codes.shape[1] <= 41


def test_a_next_token_checkpoint_keeps_every_row_but_one(reference, tmp_path):
    report = run(write_checkpoint(tmp_path / "source", reference, "ntp"), tmp_path / "model")
    assert report.left_out == ("[ua]",)
    theirs = released_weights(reference, "ntp")["model.embed_tokens.weight"]
    ours = load_file(tmp_path / "model" / "model.safetensors")["backbone.model.embed_tokens.weight"]
    names = read(reference, "tokens.json")["ntp"]
    assert torch.equal(ours[:259], theirs[:259])
    order = ["[Human]", "[Assistant]", "<sosp>", "<|placeholder|>"]
    assert torch.equal(ours[259:263], theirs[[names[name] for name in order]])
    assert torch.equal(ours[263 : 263 + 3072], theirs[259 : 259 + 3072])
    assert torch.equal(ours[3335:], theirs[[names["<eosp>"], names["[ta]"]]])


def test_a_checkpoint_without_tokenizer_is_numbered_as_released(reference, tmp_path):
    for case in ("ntp", "h3"):
        source = write_checkpoint(tmp_path / case, reference, case)
        run(source, tmp_path / f"{case}-named")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (source / name).unlink()
        with pytest.raises(ConfigError, match="--tokenizer"):
            run(source, tmp_path / "refused")
        run(source, tmp_path / f"{case}-numbered", tokenizer="bytes")
        states = [load_file(tmp_path / f"{case}-{how}" / "model.safetensors") for how in ("named", "numbered")]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_an_output_matrix_of_its_own_is_renumbered_too(reference, tmp_path):
    source = write_checkpoint(tmp_path / "source", reference, "ntp")
    state = load_file(source / "model.safetensors")
    state["lm_head.weight"] = -state["model.embed_tokens.weight"]
    save_file(state, source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    run(source, tmp_path / "model")
    ours = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(ours["backbone.lm_head.weight"], -ours["backbone.model.embed_tokens.weight"])


def test_a_configuration_that_wraps_the_backbones_is_read(reference, tmp_path):
    source = write_checkpoint(tmp_path / "source", reference, "h3")
    plain = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({"model_type": "speech_lm", "lm_config": plain}))
    run(source, tmp_path / "wrapped")
    (source / "config.json").write_text(json.dumps({"model_type": "speech_lm"}))
    with pytest.raises(FormatError, match="--base"):
        run(source, tmp_path / "model")
    write_config(tmp_path, reference, "h3")
    run(source, tmp_path / "model", base=str(tmp_path))
    states = [load_file(tmp_path / name / "model.safetensors") for name in ("wrapped", "model")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def drop(state, *names):
    return {name: value for name, value in state.items() if name not in names}


DAMAGES = {
    "two_heads": (
        lambda s: {k: v for k, v in s.items() if not k.startswith("speech_heads.2")},
        ConfigError,
        "2 speech heads, not a multiple of the 3 streams",
    ),
    "layers": (
        lambda s: {k.replace("head.weight", "head.0.weight"): v for k, v in s.items()},
        FormatError,
        r"speech_heads\.\d\.head\.0\.weight is not known; expected .*linear heads",
    ),
    "shape": (
        lambda s: s | {"speech_heads.1.head.bias": torch.zeros(7)},
        FormatError,
        r"heads\.1\.bias is \[7\]; expected \[1025\]",
    ),
    "missing": (
        lambda s: drop(s, "lm_model.model.norm.weight"),
        FormatError,
        r"1 missing \(first: backbone\.model\.norm\.weight\)",
    ),
    "short": (
        lambda s: s | {"lm_model.model.embed_tokens.weight": torch.zeros(3000, 32)},
        FormatError,
        "has 3000 rows, its tokens go up to id 3336",
    ),
    "table": (lambda s: drop(s, "lm_model.model.embed_tokens.weight"), FormatError, "has no embedding table"),
    "speaker": (
        lambda s: s | {"spk_emb_proj.0.weight": torch.zeros(1024, 192), "spk_emb_proj.0.bias": torch.zeros(1024)},
        ConfigError,
        "speaker vectors of 192 numbers, codec 'facodec' gives 256",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_weights_that_do_not_fit_are_named_and_nothing_is_written(reference, tmp_path, damage):
    change, error, message = DAMAGES[damage]
    source = write_checkpoint(tmp_path / "source", reference, "h3")
    save_file(change(load_file(source / "model.safetensors")), source / "model.safetensors")
    with pytest.raises(error, match=message):
        run(source, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_files_that_do_not_belong_together_are_named(reference, tmp_path):
    source = write_checkpoint(tmp_path / "source", reference, "h3", files="shards")
    with pytest.raises(ConfigError, match="3 speech heads: its layout is grouped, not 'interleaved'"):
        run(source, tmp_path / "model", layout="interleaved")
    with pytest.raises(ConfigError, match="3 streams of 1024 codes, codec 'bigcodec' has 1 streams of 8192 codes"):
        run(source, tmp_path / "model", codec="bigcodec")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    kept = [token for token in tokenizer["added_tokens"] if token["content"] != "<sosp>"]
    (source / "tokenizer.json").write_text(json.dumps(tokenizer | {"added_tokens": kept}))
    config = json.loads((source / "tokenizer_config.json").read_text())
    config.get("added_tokens_decoder", {}).pop("261", None)
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match=r"lacks 1 of the 3077 tokens of speech \(first: <sosp>\)"):
        run(source, tmp_path / "model")
    (source / "added_tokens.json").write_text(json.dumps({"<a0>": 9}))
    with pytest.raises(FormatError, match="<a0> the id 9, another file says 263"):
        run(source, tmp_path / "model")
    (source / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FormatError, match="copy all files"):
        run(source, tmp_path / "model")


def test_a_folder_that_is_no_checkpoint_or_not_empty_is_refused(reference, tmp_path):
    source = write_checkpoint(tmp_path / "source", reference, "h3")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").touch()
    with pytest.raises(FormatError, match="not an empty folder"):
        run(source, tmp_path / "full")
    (source / "model.safetensors").unlink()
    with pytest.raises(FormatError, match="holds no weights"):
        run(source, tmp_path / "model")
    with pytest.raises(FormatError, match=r"no config\.json"):
        run(tmp_path / "full", tmp_path / "model")


def test_a_pickle_of_more_than_tensors_is_not_run(reference, tmp_path):
    source = write_checkpoint(tmp_path / "source", reference, "h3", files="bin")
    marker = tmp_path / "ran"
    torch.save({"x": _Touch(marker)}, source / "pytorch_model.bin")
    with pytest.raises(FormatError, match="cannot be read as weights"):
        run(source, tmp_path / "model")
    assert not marker.exists()


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_the_text_tokenizer_no_longer_knows_the_tokens_of_speech(reference, tmp_path):
    from slmtk.data.text_tokenizer import ByteTokenizer, load_text_tokenizer, tokenizer_differences

    assert speech_tokens(reference, "h3")[:3] == ["[Human]", "[Assistant]", "<sosp>"]
    run(write_checkpoint(tmp_path / "source", reference, "h3"), tmp_path / "model")
    tokenizer = load_text_tokenizer(tmp_path / "model" / "tokenizer")
    assert tokenizer.name == "source"
    assert tokenizer_differences(tokenizer, ByteTokenizer()) == []
    assert tokenizer.decode(tokenizer.encode("<sosp> é")) == "<sosp> é"


def test_the_command_prints_what_it_found_and_a_mistake_is_one_line(reference, tmp_path):
    source = write_checkpoint(tmp_path / "source", reference, "h3")
    result = CliRunner().invoke(command, [str(source), str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["layout"], report["heads"], report["tokens"]) == ("grouped", 3, 3337)
    assert json.loads((tmp_path / "model" / "slmtk.json").read_text())["tasks"] == ["tts"]
    again = CliRunner().invoke(command, [str(source), str(tmp_path / "model")])
    assert isinstance(again.exception, FormatError)
    assert str(again.exception) == f"{tmp_path / 'model'} is not an empty folder; name a new one for the model"


def test_a_model_imported_without_the_codecs_weights_opens_where_they_are(reference, tmp_path, monkeypatch):
    report = run(write_checkpoint(tmp_path / "source", reference, "h3"), tmp_path / "model")
    assert report.codec_weights == ""
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda group, name: PaperCodec if name == "facodec" else load(group, name))
    monkeypatch.setattr(PaperCodec, "spec", codec_spec_of_card())
    assert Synthesizer.load(tmp_path / "model").spec.weights_sha256 == "of a test"


def codec_spec_of_card() -> CodecSpec:
    """The real codec's description, as if its weights were here."""
    from slmtk.codecs.facodec import FacodecV2

    return dataclasses.replace(FacodecV2.card.spec, weights_sha256="of a test")

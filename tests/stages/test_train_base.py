"""Going on from a model that slmtk trained, and datasets that do not go with a base or a folder."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from slmtk.data.bpe import train_bpe
from slmtk.data.filters import FilterConfig
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.progress import SilentProgress
from slmtk.shards import part_name, write_index, write_shard
from slmtk.spec import CodecSpec
from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset
from slmtk.stages.train import train
from slmtk.stages.train.config import TrainConfig
from tests.helpers.tiny_run import TINY, make_dataset, write_codes
from tests.helpers.tone import VoicedToneCodec

SILENT = SilentProgress()
QUICK = replace(TINY, steps=2, num_targets=0)
ANY = FilterConfig(min_seconds=0.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def first(dataset, tmp_path_factory):
    """A model of other choices than the defaults."""
    out = tmp_path_factory.mktemp("first") / "model"
    config = replace(QUICK, frames_per_step=3, head="mlp", fusion="concat", stream_order="level,pitch")
    train(dataset, out, config, SILENT)
    return out


def going_on(base, **values):
    """Settings that leave to ``base`` what it is made of."""
    return TrainConfig(**{"base": str(base), "steps": 1, "batch_size": 4, "device": "cpu", "num_targets": 0, **values})


def test_a_trained_model_goes_on_with_all_its_weights_and_its_own_architecture(dataset, first, tmp_path):
    train(dataset, tmp_path / "second", going_on(first, learning_rate=1e-12), SILENT)
    before, after = (load_file(folder / "model.safetensors") for folder in (first, tmp_path / "second"))
    assert before.keys() == after.keys()
    assert any(key.startswith("fusion.") for key in after)
    for key in before:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-9, msg=key)
    config = json.loads((tmp_path / "second" / "config.json").read_text())
    assert (config["frames_per_step"], config["head"], config["fusion"]) == (3, "mlp", "concat")
    assert config["stream_order"] == [1, 0]


def test_fine_tuning_on_answers_keeps_the_task_that_was_learnt_first(dataset, first, tmp_path):
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps({"id": f"u{n:03d}", "question": "How?"}) + "\n" for n in range(24)))
    config = BuildDatasetConfig(questions=questions, filters=ANY)
    build_dataset([dataset.parent / "codes"], tmp_path / "qa", config, SILENT)
    train(tmp_path / "qa", tmp_path / "second", going_on(first), SILENT)
    assert json.loads((tmp_path / "second" / "slmtk.json").read_text())["tasks"] == ["tts", "qa"]


def test_an_option_that_contradicts_the_base_is_refused_and_named(dataset, first, tmp_path):
    config = going_on(first, head="linear", frames_per_step=3, stream_order="pitch,level")
    with pytest.raises(
        ConfigError, match=r"head: 'mlp', asked for 'linear'; stream_order: \[1, 0\], asked for \[0, 1\]"
    ):
        train(dataset, tmp_path / "second", config, SILENT)


def other_codec(folder):
    """The same codes under a codec with a larger second codebook."""
    values = VoicedToneCodec.spec.to_dict()
    values["streams"][1]["size"] = 32
    spec = CodecSpec.from_dict(values)
    from slmtk.shards import open_codes

    rows = list(open_codes(write_codes(folder / "same")).rows())
    (folder / "codes").mkdir()
    info = write_shard(folder / "codes" / part_name(0), spec, rows)
    write_index(folder / "codes", spec, {}, "codes", [info], 0)
    build_dataset([folder / "codes"], folder / "dataset", BuildDatasetConfig(filters=ANY), SILENT)
    return folder / "dataset"


def test_a_dataset_of_another_codec_is_refused_for_a_base_and_for_a_folder_with_the_difference(
    dataset, first, tmp_path
):
    other = other_codec(tmp_path)
    with pytest.raises(CodecMismatchError, match=r"not of --base .*codec .*16.*32"):
        train(other, tmp_path / "second", going_on(first), SILENT)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "slmtk.json").write_text((first / "slmtk.json").read_text())
    with pytest.raises(CodecMismatchError, match=r"model of another dataset .*16.*32"):
        train(other, tmp_path / "begun", QUICK, SILENT)


def test_a_dataset_of_another_tokenizer_is_refused_for_a_base(dataset, first, tmp_path):
    train_bpe(["Low high", "Rising falling"] * 10, 300).save(tmp_path / "tokenizer")
    config = BuildDatasetConfig(tokenizer=str(tmp_path / "tokenizer"), filters=ANY)
    build_dataset([dataset.parent / "codes"], tmp_path / "dataset", config, SILENT)
    with pytest.raises(CodecMismatchError, match="text_size: 259, "):
        train(tmp_path / "dataset", tmp_path / "second", going_on(first), SILENT)


def test_a_base_without_tokenizer_or_weights_is_refused(dataset, first, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "config.json").write_text((first / "config.json").read_text())
    with pytest.raises(FormatError, match="without its tokenizer"):
        train(dataset, tmp_path / "second", going_on(tmp_path / "copy"), SILENT)
    (tmp_path / "copy" / "tokenizer").symlink_to(first / "tokenizer")
    with pytest.raises(FormatError, match="cannot be loaded"):
        train(dataset, tmp_path / "second", going_on(tmp_path / "copy"), SILENT)

"""The conformance weights written as the released training scripts leave a checkpoint: config, weights, tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

HEAD_ORDER = [f"{letter}{frame}" for frame in (1, 2, 3, 4) for letter in "abc"]


def conformance(shared_data: Path) -> Path:
    import pytest

    folder = shared_data.parent / "conformance" / "speechlm"
    if not folder.is_dir():
        pytest.skip("no reference numbers here")
    return folder


def read(reference: Path, name: str) -> dict:
    return json.loads((reference / name).read_text())


def released_weights(reference: Path, case: str) -> dict[str, Tensor]:
    """Tensors of "ntp", "h3", "h6", "h12" or "h12_spk" under the names that the released scripts save."""
    plain = case.removesuffix("_spk")
    wrapper = "" if case == "ntp" else "lm_model."
    state = {}
    for name, value in load_file(reference / f"model_{plain}.safetensors").items():
        if name.startswith("speech_heads."):
            _, head, kind = name.split(".")
            state[f"speech_heads.{HEAD_ORDER.index(head)}.head.{kind}"] = value
        else:
            state[wrapper + name] = value
    if case.endswith("_spk"):
        for name, value in load_file(reference / "spk_proj_h12.safetensors").items():
            layer = {"fc1": "0", "fc2": "2"}[name.split(".")[1]]
            state[f"spk_emb_proj.{layer}.{name.split('.')[2]}"] = value
    return state


def speech_tokens(reference: Path, case: str) -> list[str]:
    """The new tokens in the order of their ids."""
    numbered = {}
    for name, place in read(reference, "tokens.json")["ntp" if case == "ntp" else "mtp"].items():
        if isinstance(place, int):
            numbered[place] = name
        else:
            numbered |= {place[0] + code: f"<{name[1]}{code}>" for code in range(1024)}
    return [numbered[place] for place in sorted(numbered) if place >= 259]


def write_tokenizer(folder: Path, tokens: list[str]) -> None:
    """A tokenizer of one id per UTF-8 byte after NFC, the three control tokens, then ``tokens``."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(vocab=_byte_letters(), merges=[]))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    tokenizer.save_pretrained(str(folder))


def _byte_letters() -> dict[str, int]:
    """The letter that byte-level BPE writes for each byte (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return {chr(byte if byte in plain else next(rest)): byte for byte in range(256)}


def write_config(folder: Path, reference: Path, case: str) -> None:
    values = read(reference, "config_ntp.json" if case == "ntp" else "config.json")
    other = ("architecture", "stored_dtype", "compute_dtype", "base_vocab_rows", "text_loss_weight")
    values = {key: value for key, value in values.items() if key not in other}
    if case != "ntp":
        heads = int(case.removesuffix("_spk")[1:])
        values |= {"architectures": ["SpeechLM"], "medusa_num_heads": heads, "spk_aware": case.endswith("_spk")}
    (folder / "config.json").write_text(json.dumps(values | {"torch_dtype": "float16"}))


def write_checkpoint(folder: Path, reference: Path, case: str, *, files: str = "safetensors") -> Path:
    """Write the checkpoint of ``case``; ``files`` is "safetensors", "bin" or "shards"."""
    folder.mkdir(parents=True)
    state = released_weights(reference, case)
    if files == "bin":
        torch.save(state, folder / "pytorch_model.bin")
    elif files == "shards":
        names = sorted(state)
        pieces = {f"model-{n + 1:05d}-of-00002.safetensors": names[n::2] for n in range(2)}
        for file, part in pieces.items():
            save_file({name: state[name] for name in part}, folder / file)
        index = {"weight_map": {name: file for file, part in pieces.items() for name in part}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        save_file(state, folder / "model.safetensors")
    write_config(folder, reference, case)
    write_tokenizer(folder, speech_tokens(reference, case))
    return folder


def released_model(reference: Path, case: str):
    """The model of ``case`` in float32, imported as `slmtk import-checkpoint` does it."""
    import tempfile
    from unittest.mock import patch

    from slmtk.models.speech_lm import SpeechLM
    from slmtk.progress import SilentProgress
    from slmtk.stages.import_checkpoint import ImportConfig, import_checkpoint

    # Whether the codec's weights are on this machine is of no concern here.
    here = patch("slmtk.codecs.weights.Published.is_cached", return_value=False)
    with tempfile.TemporaryDirectory() as work, here:
        source = write_checkpoint(Path(work) / "checkpoint", reference, case)
        import_checkpoint(source, Path(work) / "model", ImportConfig(), SilentProgress())
        return SpeechLM.from_pretrained(Path(work) / "model", dtype=torch.float32).eval()

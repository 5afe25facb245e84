"""Weights: found where they are, read without running code, loaded whole or refused in one line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from slmtk.codecs.weights import Published, load_strictly, locate, read_state, sha256_of
from slmtk.errors import FormatError, WeightsError

PUBLISHED = Published("nobody/nothing", "0123abc", ("sub/weights.bin",))


def test_local_copies_in_every_layout(tmp_path: Path) -> None:
    for number, name in enumerate(("sub/weights.bin", "weights.bin", "sub/weights.safetensors", "weights.safetensors")):
        folder = tmp_path / str(number)
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        assert locate(PUBLISHED, "sub/weights.bin", folder) == folder / name
        assert locate(PUBLISHED, "sub/weights.bin", folder / name) == folder / name


def test_a_folder_without_them_and_no_internet_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"holds no weights\.bin and no weights\.safetensors"):
        locate(PUBLISHED, "sub/weights.bin", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="hf download nobody/nothing --revision 0123abc") as caught:
        locate(PUBLISHED, "sub/weights.bin")
    assert "\n" not in str(caught.value)
    assert not PUBLISHED.is_cached()


def test_both_file_formats_give_the_same_tensors(tmp_path: Path) -> None:
    tensors = {"weight": torch.randn(3, 4), "bias": torch.randn(3)}
    torch.save(tensors, tmp_path / "a.bin")
    torch.save(tensors, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "a.safetensors")
    for name in ("a.bin", "old.bin", "a.safetensors"):
        linear = torch.nn.Linear(4, 3)
        load_strictly(linear, read_state(tmp_path / name), tmp_path / name)
        assert torch.equal(linear.weight, tensors["weight"])


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


@pytest.mark.parametrize("content", [b"", b"\x80\x04nonsense", b"PK\x03\x04 cut off", pickle.dumps({"a": _Evil()})])
def test_damaged_and_dangerous_files_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("weights.bin", "weights.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match="cannot be read as weights"):
            read_state(tmp_path / name)


def test_missing_unknown_and_misshapen_tensors(tmp_path: Path) -> None:
    linear = torch.nn.Linear(4, 3)
    state = dict(linear.state_dict())
    load_strictly(linear, {**state, "head.weight": torch.zeros(1)}, tmp_path, unused=("head.",))
    with pytest.raises(FormatError, match=r"1 unknown \(first: head\.weight\)"):
        load_strictly(linear, {**state, "head.weight": torch.zeros(1)}, tmp_path)
    with pytest.raises(FormatError, match=r"1 missing \(first: bias\)"):
        load_strictly(linear, {"weight": state["weight"]}, tmp_path)
    with pytest.raises(FormatError, match=r"bias is \[4\]; expected \[3\]"):
        load_strictly(linear, {**state, "bias": torch.zeros(4)}, tmp_path)


def test_weights_stay_in_the_file_they_are_mapped_from_unless_they_need_another_type(tmp_path: Path) -> None:
    torch.save({"weight": torch.randn(3, 2), "bias": torch.ones(3).half()}, tmp_path / "w.pt")
    state = read_state(tmp_path / "w.pt")
    for device in ("cpu", "meta"):
        linear = torch.nn.Linear(2, 3, device=device)
        load_strictly(linear, state, tmp_path)
        assert linear.weight.data_ptr() == state["weight"].data_ptr()
        assert linear.weight.requires_grad
        assert linear.bias.dtype == torch.float32
        assert linear.bias.tolist() == [1, 1, 1]


def test_digest_goes_on_from_file_to_file(tmp_path: Path) -> None:
    for name, content in (("ab", b"ab"), ("a", b"a"), ("b", b"b")):
        (tmp_path / name).write_bytes(content)
    assert sha256_of(tmp_path / "a", tmp_path / "b") == sha256_of(tmp_path / "ab") != sha256_of(tmp_path / "a")

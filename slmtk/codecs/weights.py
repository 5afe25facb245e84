"""A codec's weights: found on the hub (pinned) or in a local copy, read without running code, loaded strictly."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmtk.errors import FormatError, WeightsError, first_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Published:
    """Where a codec's weights are published.

    Attributes:
        repo: of the Hugging Face hub, "owner/name".
        revision: the commit or tag that is meant.
        files: names within the repository, all of which the codec needs.
    """

    repo: str
    revision: str
    files: tuple[str, ...]

    def is_cached(self) -> bool:
        """Whether every file is in the hub's local cache already."""
        from huggingface_hub import try_to_load_from_cache

        found = (try_to_load_from_cache(self.repo, name, revision=self.revision) for name in self.files)
        return all(isinstance(path, str) for path in found)


def locate(published: Published, name: str, checkpoint: Path | None = None) -> Path:
    """Return the local path of the published file ``name``.

    Without ``checkpoint`` it comes from the hub (or its cache). ``checkpoint`` is the file itself, or a folder that
    holds it as the repository does, without its folders, or converted to safetensors under the same name.

    Raises:
        WeightsError: it is neither here nor can it be fetched.
    """
    if checkpoint is None:
        return _download(published, name)
    if checkpoint.is_file():
        return checkpoint
    flat = Path(name).name
    stem = Path(name).with_suffix(".safetensors")
    tries = dict.fromkeys([checkpoint / name, checkpoint / flat, checkpoint / stem, checkpoint / stem.name])
    for path in tries:
        if path.is_file():
            return path
    raise WeightsError(f"{checkpoint} holds no {flat} and no {stem.name}; expected the files of {published.repo}")


def _download(published: Published, name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(hf_hub_download(published.repo, name, revision=published.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise WeightsError(
            f"{published.repo}/{name} is not in the cache and cannot be fetched ({first_line(error)}); where there "
            f"is internet run `hf download {published.repo} --revision {published.revision}`, or name a copy with "
            "--codec-checkpoint PATH"
        ) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of ``path`` (safetensors, or a PyTorch file with weights alone) without copying them yet.

    Returns:
        The file's mapping from name to tensor; what else a PyTorch file holds beside tensors (nested mappings such as
        "state_dict") is kept for the codec to unpack.

    Raises:
        FormatError: the file is damaged, or holds objects other than tensors and plain values.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read as weights: {first_line(error)}") from error
    if not isinstance(state, Mapping):
        raise FormatError(f"{path} holds a {type(state).__name__}; expected a mapping of names to tensors")
    return dict(state)


def _is_zip(path: Path) -> bool:
    # PyTorch files from before 1.6 are no zip archives and cannot be mapped.
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], path: Path, unused: Collection[str] = ()) -> None:
    """Load ``state`` into ``module``: every tensor of both must be matched, but for the ``unused`` prefixes.

    Args:
        module: takes the tensors, in its own types. Those that need no conversion are not copied: what is mapped
            from a file stays so, and processes that load the same file share its memory.
        state: names to tensors, as in the published file.
        path: for messages.
        unused: beginnings of names that are known and not needed (training-only heads).

    Raises:
        FormatError: a name is missing or unknown, or a shape differs; says how many and the first of them.
    """
    prefixes = tuple(unused)
    own = module.state_dict()
    given = {name: tensor for name, tensor in state.items() if not (prefixes and name.startswith(prefixes))}
    missing, unknown = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    shapes = [name for name in own.keys() & given.keys() if own[name].shape != given[name].shape]
    if missing or unknown:
        parts = [f"{len(names)} {what} (first: {names[0]})" for what, names in
                 (("missing", missing), ("unknown", unknown)) if names]  # fmt: skip
        raise FormatError(f"{path} does not fit: tensors {', '.join(parts)}; is it the right checkpoint?")
    if shapes:
        name = min(shapes)
        raise FormatError(f"{path}: {name} is {list(given[name].shape)}; expected {list(own[name].shape)}")
    fitting = {name: tensor.to(_device(own[name], tensor), own[name].dtype) for name, tensor in given.items()}
    module.load_state_dict(fitting, strict=True, assign=True)


def _device(own: Tensor, given: Tensor) -> torch.device:
    return given.device if own.is_meta else own.device


def sha256_of(*paths: Path) -> str:
    """Digest of the files' contents, one after the other: what tells two codecs of one name apart."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()

"""Why an import fails and the command that mends it: what `slmtk doctor` knows of troubles that others have met."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping

from slmtk.plugins import mended_by

# torchaudio 2.11.0, its last release, holds extensions built for CUDA 13.0 and loads beside no other torch.
TORCHAUDIO_CUDA = "13.0"
PYPI = "https://pypi.org/simple"


def pip_install(*requirements: str, options: str = "") -> str:
    """Return the command that installs ``requirements`` for this interpreter."""
    words = [sys.executable, "-m", "pip", "install", *options.split(), *requirements]
    return " ".join(shlex.quote(word) for word in words)


def explain_import(
    module: str, error: str, requirements: Mapping[str, str], versions: Mapping[str, str]
) -> tuple[str, str]:
    """Say why ``import module`` failed and what mends it.

    Args:
        module: what was imported.
        error: last line of the traceback, or how the interpreter ended.
        requirements: what slmtk declares, by package ("torch" -> "torch<2.15,>=2.11").
        versions: installed versions of torch and torchaudio, as far as they are installed.

    Returns:
        The reason in a sentence, and the command.
    """
    if missing := re.search(r"No module named '([\w.]+)'", error):
        return _missing_module(missing[1], requirements)
    if module == "torchaudio":
        return _torchaudio(error, requirements, versions)
    if "sndfile library not found" in error:
        return "soundfile finds no libsndfile", pip_install("soundfile", options="--force-reinstall --no-deps")
    if library := re.search(r"(lib(?:cu|nv|nccl)[\w.\-]+): cannot open shared object", error):
        again = requirements.get("torch", "torch")
        return f"{library[1]}, which comes with torch, is gone", pip_install(again, options="--force-reinstall")
    if re.search(r"numpy\.dtype size changed|compiled using NumPy 1|numpy.core.multiarray failed", error):
        options = "--force-reinstall --no-deps --no-cache-dir"
        return f"{module} was built for another NumPy: {error}", pip_install(module, options=options)
    return error, pip_install(requirements.get(module, module), options="--force-reinstall")


def _missing_module(missing: str, requirements: Mapping[str, str]) -> tuple[str, str]:
    if missing.split(".")[0] == "pkg_resources":
        reason = "pkg_resources, which webrtcvad (through resemblyzer) and pyworld import, is gone since setuptools 81"
        return reason, pip_install(mended_by(missing))
    root = missing.split(".")[0]
    return f"the module {missing!r} is not installed", pip_install(requirements.get(root, mended_by(root)))


def _torchaudio(error: str, requirements: Mapping[str, str], versions: Mapping[str, str]) -> tuple[str, str]:
    torch, own = versions.get("torch", "?"), versions.get("torchaudio", "?")
    pair = (requirements.get("torch", "torch"), requirements.get("torchaudio", "torchaudio"))
    reason = f"torchaudio {own} was built for CUDA {TORCHAUDIO_CUDA} and does not load beside torch {torch}"
    if "+" in torch:
        # pip takes 2.13.0+cpu for a 2.13.0 that satisfies the requirement, hence the force and the plain index.
        options = f"--upgrade --force-reinstall --index-url {PYPI}"
        return f"{reason}, another build (the registry's runs without a GPU too)", pip_install(*pair, options=options)
    if "different CUDA versions" in error or "load this library" in error or "undefined symbol" in error:
        return f"{reason}: {error}", pip_install(*pair)
    return error, pip_install(*pair, options="--force-reinstall")

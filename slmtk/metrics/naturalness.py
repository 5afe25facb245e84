"""Speech -> how natural it would sound to listeners, without a reference: DNSMOS, for filters and scores.

Source: Reddy et al., "DNSMOS P.835: A non-intrusive perceptual objective speech quality metric to evaluate noise
suppressors", ICASSP 2022; networks and their use as in the package speechmos, which carries the weights.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk import audio
from slmtk.errors import AudioError, MissingDependencyError, ShapeError
from slmtk.plugins import mended_by

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
_NETWORKS = {"onnx_sess": "sig_bak_ovr.onnx", "p808_onnx_sess": "model_v8.onnx"}


@dataclass(frozen=True)
class Naturalness:
    """Predicted opinions of listeners, about 1 (bad) to 5 (excellent), means over windows of 9 s.

    Attributes:
        overall: P.835 OVRL; the number that corpora such as Emilia state as "dnsmos".
        signal: P.835 SIG, of the speech alone.
        background: P.835 BAK, of what is not speech.
        p808: P.808, overall, of another network.
    """

    overall: float
    signal: float
    background: float
    p808: float


def dnsmos(wav: Tensor, sample_rate: int) -> Naturalness:
    """Return the DNSMOS of one utterance; what is shorter than 9 s is repeated, as the networks' authors do.

    It runs on one thread of the CPU, so that the numbers do not depend on the machine's cores.

    Args:
        wav: float32 [S] in [-1, 1].
        sample_rate: Hz; other rates than 16 kHz are resampled.

    Raises:
        AudioError: there are no samples ("empty") or some are not finite ("nan").
        ShapeError: ``wav`` is not [S].
        MissingDependencyError: the extra ``quality`` is not installed.
    """
    if wav.ndim != 1:
        raise ShapeError(f"audio is {list(wav.shape)}; DNSMOS takes one utterance [S]")
    if not len(wav):
        raise AudioError("an utterance to judge holds no samples", kind="empty")
    scorer = load()
    samples = audio.resample(wav.detach().cpu().float(), sample_rate, SAMPLE_RATE).numpy()
    if not np.isfinite(samples).all():
        raise AudioError("an utterance to judge holds NaN or infinite samples", kind="nan")
    # Peaks between the samples, which resampling uncovers, may lie a little above full scale.
    scores = scorer(samples.clip(-1, 1), SAMPLE_RATE, False)
    return Naturalness(*(float(scores[f"{name}_mos"]) for name in ("ovrl", "sig", "bak", "p808")))


@lru_cache(maxsize=1)
def load() -> Any:
    """Load the networks, once a process; call it early to learn whether they are there.

    Raises:
        MissingDependencyError: the extra ``quality`` is not installed.
    """
    try:
        runtime = importlib.import_module("onnxruntime")
        package = importlib.import_module("speechmos.dnsmos")
    except ModuleNotFoundError as error:
        missing = error.name or "speechmos"
        raise MissingDependencyError(
            f"DNSMOS needs the package {missing!r}, which is not installed: pip install '{mended_by(missing)}'"
        ) from error
    folder = Path(str(package.__file__)).parent / "dnsmos_models"
    scorer = package.DNSMOS(*(str(folder / name) for name in _NETWORKS.values()))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for attribute, name in _NETWORKS.items():
        session = runtime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
        setattr(scorer, attribute, session)
    return scorer

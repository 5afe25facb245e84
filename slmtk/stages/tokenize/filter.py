"""Which recordings are natural enough to be encoded: DNSMOS as the corpus states it, or measured on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from slmtk.config import fingerprint
from slmtk.corpus import Corpus
from slmtk.corpus.columns import as_number
from slmtk.errors import AudioError, CorpusError
from slmtk.metrics import naturalness
from slmtk.progress import Progress
from slmtk.spec import Utterance
from slmtk.stages.tokenize.parts import Plan

if TYPE_CHECKING:
    from torch import Tensor

COLUMN = "dnsmos"
FILTERED = "dnsmos"
"""`Failure.kind` of an utterance that was left out on purpose: it is listed, but has not failed."""


def drop_stated(corpus: Corpus, least: float | None, progress: Progress) -> tuple[Corpus, int]:
    """Leave out the utterances whose column "dnsmos" is below ``least``; those without a number stay, to be measured.

    If ``least`` is None, all stay.

    Returns:
        the corpus that is left, and how many were left out.

    Raises:
        CorpusError: nothing is left.
        MissingDependencyError: some are to be measured, and the extra ``quality`` is not installed.
    """
    if least is None:
        return corpus, 0
    scores = [_stated(utterance) for utterance in corpus.utterances]
    kept = [u for u, score in zip(corpus.utterances, scores, strict=True) if score is None or score >= least]
    stated = [score for score in scores if score is not None]
    if not kept:
        raise CorpusError(
            f"--min-dnsmos {least:g} leaves none of {len(scores)} utterances; the best has {max(stated):.2f}"
        )
    dropped = len(scores) - len(kept)
    if stated:
        progress.message(f"{dropped} of {len(scores)} utterances have a {COLUMN} below {least:g}; they are left out")
    if len(stated) < len(scores):
        naturalness.load()
        progress.message(
            f"{len(scores) - len(stated)} utterances state no {COLUMN}; it is measured as they are encoded"
        )
    return dataclasses.replace(corpus, utterances=kept), dropped


def measured(utterance: Utterance, wav: Tensor, sample_rate: int, least: float | None) -> Mapping[str, float | str]:
    """Return the utterance's extra columns with its DNSMOS (P.835 overall), measured unless the corpus states it.

    Args:
        utterance: whose ``extra`` is returned as it is if ``least`` is None.
        wav: float32 [S] in [-1, 1], its recording.
        sample_rate: Hz.
        least: what is needed to pass.

    Raises:
        AudioError: kind `FILTERED`: it is below ``least``.
    """
    if least is None or _stated(utterance) is not None:
        return utterance.extra
    score = round(naturalness.dnsmos(wav, sample_rate).overall, 4)
    if score < least:
        raise AudioError(f"its DNSMOS of {score:.2f} is below {least:g}", kind=FILTERED)
    return {**utterance.extra, COLUMN: score}


def with_limit(plan: Plan, least: float | None) -> Plan:
    """Return the plan of a run with this limit: it is another run than one with another limit."""
    if least is None:
        return plan
    run = {**plan.run, "min_dnsmos": least}
    return dataclasses.replace(plan, run=run, fingerprint=fingerprint(run))


def _stated(utterance: Utterance) -> float | None:
    return as_number(utterance.extra.get(COLUMN))

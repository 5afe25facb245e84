"""The utterances that were heard worst, word under word: what to listen to first."""

from __future__ import annotations

from collections.abc import Sequence

import jiwer

from slmtk.metrics.wer import text_units
from slmtk.stages.scoring import UtteranceScore

_WIDTH = 78  # of a narrow terminal


def worst_utterances(lines: Sequence[UtteranceScore], count: int) -> list[UtteranceScore]:
    """Return up to ``count`` spoken utterances with errors, the highest rate first; of equal rates, most errors."""
    wrong = [line for line in lines if not line.reason and line.words.errors]
    return sorted(wrong, key=lambda line: (-line.words.rate, -line.words.errors, line.id, line.run))[:count]


def worst_text(lines: Sequence[UtteranceScore], count: int, unit: str = "word", width: int = _WIDTH) -> str:
    """Return the worst utterances with their alignments, as text.

    Args:
        lines: of all utterances; failures, of which nothing was heard, are only counted.
        count: how many at most.
        unit: "word" or "character", what is aligned.
        width: of the text, in characters, where words allow it.
    """
    chosen = worst_utterances(lines, count)
    wrong = sum(bool(line.words.errors) and not line.reason for line in lines)
    failed = sum(bool(line.reason) for line in lines)
    head = f"{len(chosen)} of {wrong} utterances with errors, the highest error rate first"
    head += f"; {failed} without speech are not shown" if failed else ""
    several = any(line.run for line in lines)
    return "\n".join([head, *(_one(line, unit, width, several) for line in chosen)]) + "\n"


def _one(line: UtteranceScore, unit: str, width: int, several: bool) -> str:
    counts = line.words
    name = f"{line.id} (run {line.run})" if several else line.id
    speaker = f", {line.speaker}" if line.speaker else ""
    marks = f"; {', '.join(line.flags)}" if line.flags else ""
    edits = f"{counts.substitutions} sub, {counts.deletions} del, {counts.insertions} ins of {counts.reference_length}"
    return f"\n{name}{speaker}: {100 * counts.rate:.0f} % ({edits}){marks}\n{_alignment(line, unit, width)}"


def _alignment(line: UtteranceScore, unit: str, width: int) -> str:
    reference = " ".join(text_units(line.reference_normalized, unit))
    hypothesis = " ".join(text_units(line.hypothesis_normalized, unit))
    if not reference or not hypothesis:  # jiwer refuses an empty reference
        return f"  REF: {reference}\n  HYP: {hypothesis}"
    aligned = jiwer.process_words(reference, hypothesis)
    shown = jiwer.visualize_alignment(aligned, show_measures=False, line_width=width - 2)
    # jiwer numbers the sentences of a call, of which there is one.
    rows = [row for row in shown.splitlines() if row.strip() and not row.startswith("===")]
    return "\n".join(f"  {row}" for row in rows)

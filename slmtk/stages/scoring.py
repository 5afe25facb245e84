"""Utterances of two sources -> pairs of what was meant and what is heard -> the numbers of a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slmtk.errors import CorpusError
from slmtk.metrics.intervals import bootstrap_mean, bootstrap_ratio
from slmtk.metrics.normalize import Normalizer
from slmtk.metrics.wer import Counts, align_characters, align_texts, corpus_counts
from slmtk.stages.speech_sources import SpeechSource, Spoken

MISSING = "missing"
_NAMED = 5


@dataclass(frozen=True)
class Pair:
    """What was meant, and the speech in which to find it.

    Attributes:
        meant: has the text; its audio, if it is a recording of its own, is what the speech is compared with.
        speech: what is recognised; None if there is none.
        reason: why nothing is to be heard, "" if something is.
    """

    meant: Spoken
    speech: Spoken | None
    reason: str


@dataclass(frozen=True)
class Pairs:
    """Pairs sorted by id, and how many utterances were left out.

    Attributes:
        pairs: what is scored.
        without_text: utterances that cannot be scored since nobody knows what was said.
        only_one_side: utterances that one side alone has, left out.
    """

    pairs: list[Pair]
    without_text: int
    only_one_side: int


def make_pairs(
    meant: SpeechSource,
    speech: SpeechSource,
    *,
    allow_missing: bool = False,
    only_common: bool = False,
    limit: int | None = None,
) -> Pairs:
    """Join two sources by id.

    Args:
        meant: has the texts.
        speech: has the audio; may be the same source.
        allow_missing: utterances without speech are failures, not an error.
        only_common: utterances that one side alone has are left out.
        limit: at most so many, spread evenly over the sorted ids.

    Raises:
        CorpusError: no text, no id in common, or speech is missing that was not allowed to be.
    """
    texts = {key: item for key, item in meant.utterances.items() if item.text is not None}
    if not texts:
        raise CorpusError(
            f"{meant.name} holds {len(meant.utterances)} utterances and no text; name its text column, "
            "or score against a corpus with texts"
        )
    common = [key for key in texts if key in speech.utterances]
    if not common:
        raise CorpusError(
            f"{meant.name} ({_some(texts)}) and {speech.name} ({_some(speech.utterances)}) have no id "
            "in common; files must be named as the utterances are"
        )
    chosen = common if only_common else list(texts)
    if limit is not None and limit < len(chosen):
        chosen = [chosen[place * len(chosen) // limit] for place in range(limit)]
    pairs = [_pair(texts[key], speech.utterances.get(key)) for key in chosen]
    missing = [pair.meant.id for pair in pairs if pair.reason == MISSING]
    if missing and not allow_missing:
        raise CorpusError(
            f"{len(missing)} of {len(pairs)} utterances of {meant.name} have no speech in {speech.name}: "
            f"{_some(missing)}; --allow-missing counts them as failed, --only-common leaves them out"
        )
    strangers = len(speech.utterances.keys() - meant.utterances.keys())
    left_out = strangers + (len(texts) - len(common) if only_common else 0)
    return Pairs(pairs, len(meant.utterances) - len(texts), left_out)


def _pair(meant: Spoken, speech: Spoken | None) -> Pair:
    if speech is not None and speech.reason:
        return Pair(meant, speech, speech.reason)
    return Pair(meant, speech, MISSING if speech is None or speech.read is None else "")


def _some(ids: Iterable[str]) -> str:
    listed = list(ids)
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")


@dataclass(frozen=True)
class UtteranceScore:
    """One line of utterances.jsonl.

    Attributes:
        id: of the utterance.
        speaker: of the corpus.
        group: what it is grouped by, if anything.
        reference: what was meant.
        hypothesis: what was recognised.
        reference_normalized: the words that are compared.
        hypothesis_normalized: the words that are compared.
        words: edits in words.
        characters: edits in characters, blanks included.
        reason: of failure, "" if there is none; a failure's words are all deleted.
        similarity: by what it is compared with.
    """

    id: str
    speaker: str | None
    group: str | None
    reference: str
    hypothesis: str
    reference_normalized: str
    hypothesis_normalized: str
    words: Counts
    characters: Counts
    reason: str = ""
    similarity: Mapping[str, float] = field(default_factory=dict)


def score_utterance(
    pair: Pair,
    hypothesis: str,
    normalize: Normalizer,
    *,
    reason: str = "",
    group: str | None = None,
    similarity: Mapping[str, float] | None = None,
) -> UtteranceScore:
    """Align one hypothesis; a failure (``reason``) has none and counts every word as deleted."""
    meant = pair.meant.text or ""
    words = normalize(meant)
    heard = "" if reason else normalize(hypothesis)
    return UtteranceScore(
        id=pair.meant.id,
        speaker=pair.meant.speaker,
        group=group,
        reference=meant,
        hypothesis="" if reason else hypothesis,
        reference_normalized=words,
        hypothesis_normalized=heard,
        words=align_texts(words, heard),
        characters=align_characters(words, heard),
        reason=reason,
        similarity=similarity or {},
    )


@dataclass(frozen=True)
class ErrorRate:
    """Errors over reference length of a whole corpus.

    Attributes:
        rate: 0.05 is 5 %; may exceed 1.
        low: lower end of the 95 % interval, by bootstrap over utterances.
        high: its upper end.
        substitutions: heard as something else.
        deletions: not heard.
        insertions: heard and not meant.
        length: words or characters of the references.
    """

    rate: float
    low: float
    high: float
    substitutions: int
    deletions: int
    insertions: int
    length: int


@dataclass(frozen=True)
class Mean:
    """A mean over utterances with its 95 % interval."""

    mean: float
    low: float
    high: float
    utterances: int


def error_rate(utterances: Sequence[Counts], samples: int, seed: int) -> ErrorRate:
    """Sum the edits and draw the interval."""
    total = corpus_counts(utterances)
    interval = bootstrap_ratio(
        [counts.errors for counts in utterances], [counts.reference_length for counts in utterances], samples, seed
    )
    edits = (total.substitutions, total.deletions, total.insertions)
    return ErrorRate(total.rate, interval.low, interval.high, *edits, total.reference_length)


def mean_of(values: Sequence[float], samples: int, seed: int) -> Mean:
    """Mean and interval of one value or more."""
    interval = bootstrap_mean(values, samples, seed)
    return Mean(sum(values) / len(values), interval.low, interval.high, len(values))

"""Utterances of two sources -> pairs of what was meant and what is heard -> what each of them scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slmtk.errors import CorpusError
from slmtk.metrics.hallucination import hallucination_flags
from slmtk.metrics.normalize import Normalizer
from slmtk.metrics.wer import Counts, align, align_characters, text_units
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


def pair_all(
    meant: SpeechSource,
    sources: Sequence[SpeechSource],
    *,
    allow_missing: bool = False,
    only_common: bool = False,
    limit: int | None = None,
) -> list[Pairs]:
    """Join ``meant`` with each of several sources, all on the same utterances; see `make_pairs`.

    Raises:
        CorpusError: as `make_pairs`; or ``only_common`` leaves nothing.
    """
    shared = meant
    if only_common and len(sources) > 1:
        everywhere = set.intersection(*(set(source.utterances) for source in sources))
        kept = {key: item for key, item in meant.utterances.items() if key in everywhere}
        if not kept:
            raise CorpusError(f"{', '.join(source.name for source in sources)} have no id of {meant.name} in common")
        shared = replace(meant, utterances=kept)
    found = [
        make_pairs(shared, source, allow_missing=allow_missing, only_common=only_common, limit=limit)
        for source in sources
    ]
    if shared is meant:
        return found
    dropped = [item.text is not None for key, item in meant.utterances.items() if key not in shared.utterances]
    return [
        Pairs(
            pairs.pairs,
            pairs.without_text + dropped.count(False),
            len(source.utterances.keys() - meant.utterances.keys()) + sum(dropped),
        )
        for pairs, source in zip(found, sources, strict=True)
    ]


def _pair(meant: Spoken, speech: Spoken | None) -> Pair:
    if speech is not None and speech.reason:
        return Pair(meant, speech, speech.reason)
    return Pair(meant, speech, MISSING if speech is None or speech.read is None else "")


def _some(ids: Iterable[str]) -> str:
    listed = list(ids)
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One line of utterances.jsonl.

    Attributes:
        id: of the utterance.
        run: of several seeds of a system, which one; from 0.
        speaker: of the corpus.
        groups: what it is grouped by -> its group.
        reference: what was meant.
        hypothesis: what was recognised.
        reference_normalized: the words that are compared.
        hypothesis_normalized: the words that are compared.
        words: edits in words; in characters, blanks left out, where a protocol counts those.
        characters: edits in characters, blanks between words included; equal to ``words`` where those are characters.
        reason: of failure, "" if there is none; a failure's words are all deleted.
        seconds: of speech; None if there is none.
        flags: marks of a transcript that nobody would write; see `slmtk.metrics.hallucination`.
        measures: by name, what else was heard in the speech.
    """

    id: str
    run: int
    speaker: str | None
    groups: Mapping[str, str]
    reference: str
    hypothesis: str
    reference_normalized: str
    hypothesis_normalized: str
    words: Counts
    characters: Counts
    reason: str = ""
    seconds: float | None = None
    flags: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)


def score_utterance(
    pair: Pair,
    hypothesis: str,
    normalize: Normalizer,
    *,
    unit: str = "word",
    reason: str = "",
    seconds: float | None = None,
    run: int = 0,
    groups: Mapping[str, str] | None = None,
    measures: Mapping[str, float] | None = None,
) -> UtteranceScore:
    """Align one hypothesis; a failure (``reason``) has none and counts every word as deleted."""
    meant = pair.meant.text or ""
    words = normalize(meant)
    heard = "" if reason else normalize(hypothesis)
    units, heard_units = text_units(words, unit), text_units(heard, unit)
    counts = align(units, heard_units)
    return UtteranceScore(
        id=pair.meant.id,
        run=run,
        speaker=pair.meant.speaker,
        groups=groups or {},
        reference=meant,
        hypothesis="" if reason else hypothesis,
        reference_normalized=words,
        hypothesis_normalized=heard,
        words=counts,
        # A normaliser that sets a blank after each character would halve the rate.
        characters=counts if unit == "character" else align_characters(words, heard),
        reason=reason,
        seconds=None if seconds is None else round(seconds, 3),
        flags=() if reason else hallucination_flags(units, heard_units, seconds),
        measures=measures or {},
    )

"""Text -> the token ids around an utterance's codes: prompts are put together from ids, never parsed from text.

Templates and normalisation are those of arXiv 2506.12537's released code; the question-answer template is ours.
The words between two control tokens are tokenised as one string, because the released models saw them so.
"""

from __future__ import annotations

from dataclasses import dataclass

from slmtk.data.text_tokenizer import TextTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError

TASKS = ("tts", "qa")
SPEECH_FOLLOWS = "The speech is: "
SPEAKER_FOLLOWS = " You should speak like: "
BEHIND_SPEECH = ".\n\n"


@dataclass(frozen=True)
class Prompt:
    """The ids before and behind an utterance's codes; ``<eosp>`` ends the codes and is in neither.

    Attributes:
        before: from bos to ``<sosp>``, its last id.
        after: all behind ``<eosp>``, eos included.
        label_start: index in ``before`` of the first id that carries loss, right behind "[Assistant]:".
        placeholder: index in ``before`` of ``<|placeholder|>``, None if the model does not know speakers.
    """

    before: list[int]
    after: list[int]
    label_start: int
    placeholder: int | None


def normalize_text(text: str) -> str:
    """Strip, lower-case all, upper-case the first character; done twice it changes nothing more.

    A first character without a single upper-case form (a quote, a digit, "ß") stays as it is.
    """
    text = text.strip().lower()
    first = text[:1].upper()
    return first + text[1:] if len(first) == 1 else text


def tts_prompt(text: str, tokenizer: TextTokenizer, vocabulary: Vocabulary, *, speaker_aware: bool) -> Prompt:
    """Prompt that asks to read ``text``, which is normalised here, and the frame of the spoken answer.

    Raises:
        ConfigError: ``tokenizer`` is not the vocabulary's.
        FormatError: ``text`` is not Unicode text.
    """
    start, placeholder = _tts_request(text, tokenizer, vocabulary, speaker_aware)
    return _close(start, " " + SPEECH_FOLLOWS, placeholder, tokenizer, vocabulary)


def qa_prompt(
    question: str, text: str, tokenizer: TextTokenizer, vocabulary: Vocabulary, *, speaker_aware: bool
) -> Prompt:
    """Prompt that asks ``question``, and the answer: ``text``, normalised here, and the frame of its speech.

    The question is only stripped: names and numbers in it are written as the asker wrote them.

    Raises:
        ConfigError: ``tokenizer`` is not the vocabulary's.
        FormatError: ``question`` or ``text`` is not Unicode text.
    """
    start, placeholder = _qa_request(question, tokenizer, vocabulary, speaker_aware)
    return _close(start, f" {normalize_text(text)} {SPEECH_FOLLOWS}", placeholder, tokenizer, vocabulary)


def prefix(
    task: str,
    text: str,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    speaker_aware: bool,
    *,
    forced: bool = True,
) -> tuple[list[int], int | None]:
    """Return the ids a model is given to go on from, and the index of ``<|placeholder|>`` in them (or None).

    Args:
        task: "tts" (``text`` is to be read) or "qa" (``text`` is a question).
        text: raw; normalised as in training.
        forced: of "tts" alone: end with ``<sosp>``, so that speech begins at once; False stops before it and the
            model must emit it. A "qa" prefix ends behind "[Assistant]:", since the model first writes its answer.

    Raises:
        ConfigError: there is no such task, or ``tokenizer`` is not the vocabulary's.
        FormatError: ``text`` is not Unicode text.
    """
    if task == "qa":
        return _qa_request(text, tokenizer, vocabulary, speaker_aware)
    if task != "tts":
        raise ConfigError(f"no task {task!r}; expected one of {', '.join(TASKS)}")
    ids, placeholder = _tts_request(text, tokenizer, vocabulary, speaker_aware)
    ids += tokenizer.encode(" " + SPEECH_FOLLOWS)
    return ([*ids, vocabulary.sosp] if forced else ids), placeholder


def _tts_request(
    text: str, tokenizer: TextTokenizer, vocabulary: Vocabulary, speaker_aware: bool
) -> tuple[list[int], int | None]:
    # The full stop is added even behind another one: the released models were trained so.
    return _request(f": Read this sentence: {normalize_text(text)}.", tokenizer, vocabulary, speaker_aware)


def _qa_request(
    question: str, tokenizer: TextTokenizer, vocabulary: Vocabulary, speaker_aware: bool
) -> tuple[list[int], int | None]:
    return _request(f": {question.strip()}", tokenizer, vocabulary, speaker_aware)


def _request(
    words: str, tokenizer: TextTokenizer, vocabulary: Vocabulary, speaker_aware: bool
) -> tuple[list[int], int | None]:
    """Ids of bos, ``[Human]``, ``words``, the speaker's place if wanted, and "[Assistant]:"."""
    if tokenizer.vocab_size != vocabulary.text_size:
        raise ConfigError(
            f"text tokenizer {tokenizer.name!r} has {tokenizer.vocab_size} ids, but the vocabulary expects "
            f"{vocabulary.text_size}; use the tokenizer that was saved with the dataset or model"
        )
    ids, placeholder = [tokenizer.bos_id, vocabulary.human], None
    if speaker_aware:
        ids += tokenizer.encode(words + SPEAKER_FOLLOWS)
        placeholder = len(ids)
        ids += [vocabulary.placeholder, *tokenizer.encode(".\n ")]
    else:
        ids += tokenizer.encode(words + "\n ")
    return [*ids, vocabulary.assistant, *tokenizer.encode(":")], placeholder


def _close(
    start: list[int], answer: str, placeholder: int | None, tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> Prompt:
    return Prompt(
        before=[*start, *tokenizer.encode(answer), vocabulary.sosp],
        after=[*tokenizer.encode(BEHIND_SPEECH), tokenizer.eos_id],
        label_start=len(start),
        placeholder=placeholder,
    )

"""Text -> the token ids around an utterance's codes: prompts are put together from ids, never parsed from text.

Templates and normalisation are those of arXiv 2506.12537's released code; the question-answer templates are ours.
The words between two control tokens are tokenised as one string, because the released models saw them so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from slmtk.data.text_tokenizer import TextTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError

ANSWER_TASKS = ("qa", "sqa", "qa-speech", "sqa-speech")
"""Spoken answers to questions: written ("qa") or spoken ones ("sqa"); first written or, "-speech", in speech alone."""
HEARING_TASKS = ("sqa", "sqa-speech")
"""Those whose question is heard."""
SPEECH_ALONE = ("qa-speech", "sqa-speech")
"""Those whose answer has no text."""
TASKS = ("tts", *ANSWER_TASKS, "asr", "text")
SPEAKING_TASKS = ("tts", *ANSWER_TASKS)
"""Tasks whose answer is speech, in a voice that a speaker-aware model is told."""
SPEECH_FOLLOWS = "The speech is: "
TEXT_FOLLOWS = "The text is: "
ALONE = " Answer in speech alone."
SPEAKER_FOLLOWS = " You should speak like: "
BEHIND_SPEECH = ".\n\n"
BEHIND_TEXT = "\n\n"


@dataclass(frozen=True)
class Words:
    """Text and control tokens.

    Attributes:
        ids: one a position.
        loss: whether the model is to learn to say them.
    """

    ids: list[int]
    loss: bool


@dataclass(frozen=True)
class Stretch:
    """Speech: its codes and ``<eosp>``; the ``<sosp>`` in front of it is the last of the `Words` before.

    Attributes:
        of: whose codes: the "row"'s own, those of its "question", or of a "reference" voice.
        loss: whether the model is to learn to say them.
    """

    of: str
    loss: bool


_Piece = str | int | Stretch
"""What a prompt is put together from: text, a control token, a place of codes."""


@dataclass(frozen=True)
class Prompt:
    """What a model reads, in order.

    Attributes:
        parts: the first one begins with bos and carries no loss.
        placeholder: index of ``<|placeholder|>`` among the ids of all words, codes not counted; None if there is none.
    """

    parts: tuple[Words | Stretch, ...]
    placeholder: int | None = None

    @property
    def num_words(self) -> int:
        """Positions of all words; codes and their ``<eosp>`` come on top."""
        return sum(len(part.ids) for part in self.parts if isinstance(part, Words))


def normalize_text(text: str) -> str:
    """Strip, lower-case all, upper-case the first character; done twice it changes nothing more.

    A first character without a single upper-case form (a quote, a digit, "ß") stays as it is.
    """
    text = text.strip().lower()
    first = text[:1].upper()
    return first + text[1:] if len(first) == 1 else text


def tts_prompt(
    text: str,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    *,
    speaker_aware: bool,
    reference_prompt: bool = False,
) -> Prompt:
    """Prompt that asks to read ``text``, which is normalised here, and the frame of the spoken answer.

    Args:
        text: what is said.
        tokenizer: the vocabulary's.
        vocabulary: of the model.
        speaker_aware: leave a place for a speaker's vector.
        reference_prompt: let a reference's codes stand in that place instead.

    Raises:
        ConfigError: ``tokenizer`` is not the vocabulary's.
        FormatError: ``text`` is not Unicode text.
    """
    # The full stop is added even behind another one: the released models were trained so.
    words = f": Read this sentence: {normalize_text(text)}."
    start = _request([words], tokenizer, vocabulary, speaker_aware, reference_prompt)
    return _spoken(start, " " + SPEECH_FOLLOWS, tokenizer, vocabulary)


def qa_prompt(
    question: str | None,
    text: str | None,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    *,
    speaker_aware: bool,
    reference_prompt: bool = False,
) -> Prompt:
    """Prompt that asks ``question``, and the answer: ``text``, normalised here, and the frame of its speech.

    The question is only stripped: names and numbers in it are written as the asker wrote them.

    Args:
        question: what is asked; None leaves a place for the codes of a spoken question.
        text: of the answer; None asks for an answer in speech alone, in words that stand behind the question.
        tokenizer: the vocabulary's.
        vocabulary: of the model.
        speaker_aware: leave a place for a speaker's vector.
        reference_prompt: let a reference's codes stand in that place instead.

    Raises:
        ConfigError: ``tokenizer`` is not the vocabulary's.
        FormatError: ``question`` or ``text`` is not Unicode text.
    """
    start = _question(question, text is None, tokenizer, vocabulary, speaker_aware, reference_prompt)
    written = "" if text is None else f" {normalize_text(text)}"
    return _spoken(start, f"{written} {SPEECH_FOLLOWS}", tokenizer, vocabulary)


def asr_prompt(text: str, tokenizer: TextTokenizer, vocabulary: Vocabulary) -> Prompt:
    """Prompt that gives a row's codes to be written down, and the answer: ``text``, normalised here.

    Raises:
        ConfigError: ``tokenizer`` is not the vocabulary's.
        FormatError: ``text`` is not Unicode text.
    """
    answer = tokenizer.encode(f" {TEXT_FOLLOWS}{normalize_text(text)}{BEHIND_SPEECH}")
    parts = _recognize(tokenizer, vocabulary).parts
    return Prompt((*parts, Words([*answer, tokenizer.eos_id], loss=True)))


def text_prompt(text: str, instruction: str | None, tokenizer: TextTokenizer, vocabulary: Vocabulary) -> Prompt:
    """Prompt without speech, so that a language model keeps what it knows: an instruction and its response, or a text.

    Nothing is normalised: both are stripped and otherwise as they were written.

    Args:
        text: the response; or a text on its own, all of which is learnt.
        instruction: what was asked, None for a text on its own.
        tokenizer: the vocabulary's.
        vocabulary: of the model.

    Raises:
        ConfigError: ``tokenizer`` is not the vocabulary's.
        FormatError: ``instruction`` or ``text`` is not Unicode text.
    """
    if instruction is None:
        _check(tokenizer, vocabulary)
        return Prompt(
            (
                Words([tokenizer.bos_id], loss=False),
                Words([*tokenizer.encode(text.strip()), tokenizer.eos_id], loss=True),
            )
        )
    start = _request([f": {instruction.strip()}"], tokenizer, vocabulary, False, False)
    answer = tokenizer.encode(f" {text.strip()}{BEHIND_TEXT}")
    return Prompt((*start.parts, Words([*answer, tokenizer.eos_id], loss=True)))


def prefix_prompt(
    task: str,
    text: str,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    *,
    speaker_aware: bool = False,
    reference_prompt: bool = False,
    forced: bool = True,
) -> Prompt:
    """Return what a model is given to go on from: the beginning of the task's prompt.

    Args:
        task: "tts" (``text`` is to be read), "qa" or "qa-speech" (``text`` is a question), "sqa" or "sqa-speech" (a
            question's codes are to be answered; ``text`` is not used), "asr" (codes are to be written down; ``text`` is
            not used) or "text" (``text`` is an instruction).
        text: raw; normalised as in training.
        tokenizer: the vocabulary's.
        vocabulary: of the model.
        speaker_aware: leave a place for a speaker's vector in `SPEAKING_TASKS`.
        reference_prompt: let a reference's codes stand in that place instead.
        forced: of "tts" and answers in speech alone: end with ``<sosp>``, so that speech begins at once; False stops
            before it and the model must emit it. The others end behind "[Assistant]:", since the model first writes.

    Raises:
        ConfigError: there is no such task, or ``tokenizer`` is not the vocabulary's.
        FormatError: ``text`` is not Unicode text.
    """
    voice = {"speaker_aware": speaker_aware, "reference_prompt": reference_prompt}
    asked = None if task in HEARING_TASKS else text
    if task == "tts":
        return _until_speech(tts_prompt(text, tokenizer, vocabulary, **voice), forced)
    if task in SPEECH_ALONE:
        return _until_speech(qa_prompt(asked, None, tokenizer, vocabulary, **voice), forced)
    if task in ANSWER_TASKS:
        return _question(asked, False, tokenizer, vocabulary, speaker_aware, reference_prompt)
    if task == "asr":
        return _recognize(tokenizer, vocabulary)
    if task == "text":
        return _request([f": {text.strip()}"], tokenizer, vocabulary, False, False)
    raise ConfigError(f"no task {task!r}; expected one of {', '.join(TASKS)}")


def prefix(
    task: str,
    text: str,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    speaker_aware: bool,
    *,
    forced: bool = True,
) -> tuple[list[int], int | None]:
    """Do what `prefix_prompt` does for prompts without codes in them: the ids, and the placeholder's index or None.

    Raises:
        ConfigError: there is no such task, codes stand in its prompt ("asr", "sqa"), or ``tokenizer`` is not the
            vocabulary's.
        FormatError: ``text`` is not Unicode text.
    """
    prompt = prefix_prompt(task, text, tokenizer, vocabulary, speaker_aware=speaker_aware, forced=forced)
    ids: list[int] = []
    for part in prompt.parts:
        if isinstance(part, Stretch):
            raise ConfigError(
                f"a prompt of task {task!r} begins with codes; take prefix_prompt and prompt_steps for it"
            )
        ids += part.ids
    return ids, prompt.placeholder


def _check(tokenizer: TextTokenizer, vocabulary: Vocabulary) -> None:
    if tokenizer.vocab_size != vocabulary.text_size:
        raise ConfigError(
            f"text tokenizer {tokenizer.name!r} has {tokenizer.vocab_size} ids, but the vocabulary expects "
            f"{vocabulary.text_size}; use the tokenizer that was saved with the dataset or model"
        )


def _question(
    question: str | None,
    alone: bool,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    speaker_aware: bool,
    reference_prompt: bool,
) -> Prompt:
    """The question, or the place of its codes; then, if wanted, that the answer is to be speech alone."""
    said: list[_Piece] = [": Answer this speech: ", vocabulary.sosp, Stretch("question", False), "."]
    if question is not None:
        said = [f": {question.strip()}"]
    if alone:
        said.append(ALONE)
    return _request(said, tokenizer, vocabulary, speaker_aware, reference_prompt)


def _recognize(tokenizer: TextTokenizer, vocabulary: Vocabulary) -> Prompt:
    said: list[_Piece] = [": Recognize this speech: ", vocabulary.sosp, Stretch("row", False), "."]
    return _request(said, tokenizer, vocabulary, False, False)


def _request(
    said: Sequence[_Piece],
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    speaker_aware: bool,
    reference_prompt: bool,
) -> Prompt:
    """bos, ``[Human]``, what is said, the speaker's place or a reference's codes if wanted, and "[Assistant]:"."""
    _check(tokenizer, vocabulary)
    pieces: list[_Piece] = [tokenizer.bos_id, vocabulary.human, *said]
    if reference_prompt:
        pieces += [SPEAKER_FOLLOWS, vocabulary.sosp, Stretch("reference", False), "."]
    elif speaker_aware:
        pieces += [SPEAKER_FOLLOWS, vocabulary.placeholder, "."]
    parts = _lay([*pieces, "\n ", vocabulary.assistant, ":"], tokenizer)
    ids = [number for part in parts if isinstance(part, Words) for number in part.ids]
    with_place = speaker_aware and not reference_prompt
    return Prompt(parts, ids.index(vocabulary.placeholder) if with_place else None)


def _lay(pieces: Sequence[_Piece], tokenizer: TextTokenizer) -> tuple[Words | Stretch, ...]:
    """Text, control tokens and places of codes as parts without loss; neighbouring texts are tokenised as one."""
    parts: list[Words | Stretch] = []
    ids: list[int] = []
    for is_text, group in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        if is_text:
            ids += tokenizer.encode("".join(map(str, group)))
            continue
        for piece in group:
            if isinstance(piece, int):
                ids.append(piece)
            elif isinstance(piece, Stretch):
                parts += [Words(ids, False), piece]
                ids = []
    return (*parts, Words(ids, False))


def _until_speech(prompt: Prompt, forced: bool) -> Prompt:
    """A prompt of speech alone up to ``<sosp>``, or, not forced, up to before it."""
    end = next(part for part in prompt.parts if isinstance(part, Words) and part.loss)
    said = [part for part in prompt.parts if not part.loss]
    return Prompt((*said, Words(end.ids if forced else end.ids[:-1], loss=True)), prompt.placeholder)


def _spoken(start: Prompt, answer: str, tokenizer: TextTokenizer, vocabulary: Vocabulary) -> Prompt:
    before = Words([*tokenizer.encode(answer), vocabulary.sosp], loss=True)
    after = Words([*tokenizer.encode(BEHIND_SPEECH), tokenizer.eos_id], loss=True)
    return Prompt((*start.parts, before, Stretch("row", loss=True), after), start.placeholder)

"""How many positions each row of a dataset takes in a model, without making its example. Dataset -> order of rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from slmtk.data.dataset import DatasetFolder
from slmtk.data.dataset_columns import DatasetRow
from slmtk.data.dataset_rows import DatasetRows
from slmtk.data.examples import REFERENCE_SECONDS, row_prompt
from slmtk.data.prompts import ANSWER_TASKS, HEARING_TASKS, SPEECH_ALONE, Prompt, Stretch
from slmtk.data.text_tokenizer import ByteTokenizer, TextTokenizer
from slmtk.layout import Layout

_TEXTS = 1 << 13  # texts that are in memory at once


class Lengths:
    """Lengths of the rows of one split, for models of one layout and one way to tell them a voice."""

    def __init__(
        self,
        folder: DatasetFolder,
        split: str,
        rows: DatasetRows,
        layout: Layout,
        *,
        speaker_aware: bool,
        reference_prompt: bool,
    ) -> None:
        """Look at the ``rows`` of ``split``."""
        self._folder, self._split, self._rows, self._layout = folder, split, rows, layout
        self._speaker_aware, self._reference_prompt = speaker_aware, reference_prompt
        self._tokenizer = folder.tokenizer

    def estimated(self) -> NDArray[np.int64]:
        """Each row's own tokens, its template's tokens and its steps, int64 [rows]; right if tokens are bytes.

        A text without instruction counts as one that has the template's frame. Of a row whose task has only its text or
        only its question in the prompt, tokens count by the bytes of that.

        Raises:
            FormatError: a file of the dataset is missing or damaged.
        """
        per_task = np.array([self._template_tokens(task or "") for task in self._rows.tasks.names], np.int64)
        return self._own_tokens() + per_task[self._rows.tasks.codes] + self._speech()

    def counted(self) -> NDArray[np.int64]:
        """Positions that each row takes, int64 [rows]; every text is tokenised in its prompt, unless tokens are bytes.

        Raises:
            FormatError: a file of the dataset is missing or damaged, or a text is not Unicode text.
        """
        if isinstance(self._tokenizer, ByteTokenizer):
            return self.estimated()
        tokenizer = _Remembering(self._tokenizer)
        texts = self._texts()
        words = np.zeros(len(self._rows), np.int64)
        number, text, question = -1, "", None
        for index, utterance in enumerate(self._rows.utterances.tolist()):
            while number < utterance:
                number, (text, question) = number + 1, next(texts)
            task = self._rows.tasks[index] or ""
            words[index] = self._prompt(task, text, question, tokenizer).num_words
        return words + self._speech()

    def _own_tokens(self) -> NDArray[np.int64]:
        """Tokens of text and question, as far as each row's task has them in its prompt, int64 [rows]."""
        tokens = self._rows.num_text_tokens.astype(np.int64)
        names = [task or "" for task in self._rows.tasks.names]
        if not set(names) & set(ANSWER_TASKS) or set(names) <= {"qa", "tts", "text"}:
            return tokens
        of_text, of_question = self._bytes()
        with_text = np.array([task not in SPEECH_ALONE for task in names])[self._rows.tasks.codes]
        without_question = {"tts", "asr", *HEARING_TASKS}
        with_question = np.array([task not in without_question for task in names])[self._rows.tasks.codes]
        read = of_text * with_text + of_question * with_question
        rounded: NDArray[np.int64] = np.rint(tokens * (read / np.maximum(of_text + of_question, 1))).astype(np.int64)
        return rounded

    def _bytes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """UTF-8 bytes of each row's text and question, int64 [rows]; 0 for none."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        columns: dict[str, list[NDArray[np.int64]]] = {"text": [], "question": []}
        for path in self._folder.files(self._split):
            with pq.ParquetFile(path, memory_map=True) as part:
                for batch in part.iter_batches(_TEXTS, columns=list(columns)):
                    for name, pieces in columns.items():
                        sizes = pc.fill_null(pc.binary_length(batch[name]), 0)
                        pieces.append(sizes.to_numpy(zero_copy_only=False).astype(np.int64))
        text, question = (np.concatenate(pieces)[self._rows.utterances] for pieces in columns.values())
        return text, question

    def _texts(self) -> Iterator[tuple[str, str | None]]:
        import pyarrow.parquet as pq

        for path in self._folder.files(self._split):
            with pq.ParquetFile(path, memory_map=True) as part:
                for batch in part.iter_batches(_TEXTS, columns=["text", "question"]):
                    yield from zip(batch["text"].to_pylist(), batch["question"].to_pylist(), strict=True)

    def _template_tokens(self, task: str) -> int:
        return self._prompt(task, "", "", self._tokenizer).num_words

    def _prompt(self, task: str, text: str, question: str | None, tokenizer: TextTokenizer) -> Prompt:
        row = DatasetRow("", task, text, question, np.zeros((0, 0), np.int64), None, None, 0, 0, 0.0)
        return row_prompt(
            row,
            tokenizer,
            self._folder.vocabulary,
            speaker_aware=self._speaker_aware,
            reference_prompt=self._reference_prompt,
        )

    def _speech(self) -> NDArray[np.int64]:
        """Steps and ``<eosp>`` of all codes in each row's prompt, int64 [rows]."""
        frames = self._rows.num_frames
        longest = min(int(REFERENCE_SECONDS * self._folder.spec.frame_rate), int(frames.max(initial=0)))
        clip = self._layout.num_steps(longest) + 1
        prompts = [self._prompt(task or "", "", "", self._tokenizer) for task in self._rows.tasks.names]
        own = np.array([_count(prompt, "row") for prompt in prompts], np.int64)
        references = np.array([_count(prompt, "reference") for prompt in prompts], np.int64)
        questions = np.array([_count(prompt, "question") for prompt in prompts], np.int64)
        task = self._rows.tasks.codes
        spoken = self._steps(frames) * own[task] + clip * references[task]
        if not questions.any():
            return spoken
        return spoken + self._steps(self._rows.num_question_frames) * questions[task]

    def _steps(self, frames: NDArray[np.int32]) -> NDArray[np.int64]:
        """Steps of so many frames, and ``<eosp>``: int [rows] -> int64 [rows]."""
        counts, place = np.unique(frames, return_inverse=True)
        steps = np.array([self._layout.num_steps(int(count)) + 1 for count in counts], np.int64)
        return steps[place]


def _count(prompt: Prompt, whose: str) -> int:
    return sum(isinstance(part, Stretch) and part.of == whose for part in prompt.parts)


class _Remembering:
    """A tokenizer that encodes the words of templates once, not once a row."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self.name, self.vocab_size = tokenizer.name, tokenizer.vocab_size
        self.bos_id, self.eos_id = tokenizer.bos_id, tokenizer.eos_id
        self.encode = lru_cache(maxsize=64)(tokenizer.encode)
        self.decode = tokenizer.decode
        self.save = tokenizer.save

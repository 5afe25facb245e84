"""The baseline that only writes: any causal language model of transformers, asked greedily for a short answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slmtk.config import model_revision
from slmtk.errors import FormatError, one_line
from slmtk.quiet import no_bars

INSTRUCTION = "Answer the question with a few words and nothing else."
"""Put in front of the question; the same for every model, so that rows compare."""
_MOST_TOKENS = 48


class TextModel:
    """A causal language model with its tokenizer.

    A model whose tokenizer has a chat template is asked in it, in a turn of the user. Another one goes on from
    "Question: ... Answer:", and its answer ends with the line.
    """

    def __init__(self, base: str, device: str, batch_size: int) -> None:
        """Load it.

        Args:
            base: local folder or hub id.
            device: torch's name of where it runs; bfloat16 on a GPU, float32 elsewhere.
            batch_size: questions at once.

        Raises:
            FormatError: no causal language model with a tokenizer can be loaded.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        try:
            with no_bars():
                self._model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype).to(device).eval()
                self._tokenizer: Any = AutoTokenizer.from_pretrained(base)
        except (OSError, ValueError, KeyError, ImportError) as error:
            first = one_line(error)[:200]
            raise FormatError(
                f"{base!r}: no causal language model could be loaded ({first}); expected a folder with config.json, "
                "weights and tokenizer, or a hub id such as Qwen/Qwen2.5-0.5B-Instruct"
            ) from error
        self.name = f"{base} {model_revision(base)}" if not Path(base).is_dir() else base
        self._device, self._batch_size = device, batch_size
        self._chats = bool(self._tokenizer.chat_template)
        if self._tokenizer.pad_token_id is None:
            # Padding is masked, so any token will do.
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)
        # Answers go on from the last token, which must be the question's.
        self._tokenizer.padding_side = "left"
        self._known: dict[str, tuple[str, str]] = {}

    def answer(self, questions: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        """Answer every question and yield its place, the answer, and why it is none ("" if it is one).

        A question that was asked before is not asked again. Reasons: "no_end" (cut after 48 tokens), "empty".
        """
        waiting = sorted(
            {question for question in questions if question not in self._known}, key=lambda text: (len(text), text)
        )
        places: dict[str, list[int]] = {}
        for place, question in enumerate(questions):
            places.setdefault(question, []).append(place)
        for question in [question for question in places if question in self._known]:
            yield from ((place, *self._known[question]) for place in places[question])
        for start in range(0, len(waiting), self._batch_size):
            batch = waiting[start : start + self._batch_size]
            for question, found in zip(batch, self._generate(batch), strict=True):
                self._known[question] = found
                yield from ((place, *found) for place in places[question])

    def prompt(self, question: str) -> str:
        """What the model goes on from."""
        if not self._chats:
            return f"{INSTRUCTION}\nQuestion: {question}\nAnswer:"
        turn = {"role": "user", "content": f"{INSTRUCTION}\n{question}"}
        # Models that think aloud are told not to; other templates do not look at it.
        text: str = self._tokenizer.apply_chat_template(
            [turn], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return text

    def _generate(self, questions: Sequence[str]) -> list[tuple[str, str]]:
        import torch

        # A chat template writes its own bos.
        inputs = self._tokenizer(
            [self.prompt(question) for question in questions],
            return_tensors="pt",
            padding=True,
            return_token_type_ids=False,
            add_special_tokens=not self._chats,
        ).to(self._device)
        stops = {} if self._chats else {"stop_strings": ["\n"], "tokenizer": self._tokenizer}
        with torch.inference_mode():
            ids = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=_MOST_TOKENS,
                pad_token_id=self._tokenizer.pad_token_id,
                **stops,
            )
        return [self._read(row) for row in ids[:, inputs["input_ids"].shape[1] :].tolist()]

    def _read(self, ids: list[int]) -> tuple[str, str]:
        ends = self._model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        end = next((place for place, token in enumerate(ids) if token in ends), None)
        text: str = self._tokenizer.decode(ids[:end], skip_special_tokens=True)
        line, newline, _ = (text, "", "") if self._chats else text.lstrip(" ").partition("\n")
        answer = line.strip()
        if not answer:
            return "", "empty"
        return answer, "" if end is not None or newline or len(ids) < _MOST_TOKENS else "no_end"

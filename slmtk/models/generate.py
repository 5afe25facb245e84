"""A prompt -> text and codes, step by step, with a key-value cache: tokens -> codes.

Rules of the grouped layout, as in the authors' released models: any head that chooses ``<eosp>`` ends the speech and
the step is dropped; frames from the first ``<pad>`` on are dropped, and the speech goes on. In the delayed layout the
first place alone says that there are no more frames; the later places then say what they still owe.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from slmtk.layout import MISSING, from_steps
from slmtk.models.sampling import Sampling, choose, penalize
from slmtk.models.speech_lm import SpeechLM


@dataclass
class Generated:
    """What came of one prompt.

    Attributes:
        text_ids: what the model wrote before ``<sosp>``.
        codes: int64 [K, T].
        reason: "" if the speech ended by itself and is whole, else "no_end", "loop", "empty" or "no_speech".
        steps: forward passes of one position each, the prompt's not counted.
        first_step_seconds: from the start to the first step of codes; None if there was none.
    """

    text_ids: list[int] = field(default_factory=list)
    codes: Tensor | None = None
    reason: str = ""
    steps: int = 0
    first_step_seconds: float | None = None


class _Decoder:
    """The state of one utterance: cache, last hidden state, what each head chose."""

    def __init__(self, model: SpeechLM, sampling: Sampling, generator: torch.Generator) -> None:
        self.model = model
        self.sampling = sampling
        self.generator = generator
        # The released decoding settings (METHOD) where none is given.
        released = 1.2 if model.layout.kind == "interleaved" else 1.0
        self.penalty = released if sampling.repetition_penalty is None else sampling.repetition_penalty
        self.cache = DynamicCache()
        self.head_cache = DynamicCache()
        self.steps = 0
        self.spoken = 0
        self.frames: int | None = None  # of the delayed layout, once the first place has said that they end
        self.hidden: Tensor = torch.empty(0)
        self.states: Tensor = torch.empty(0)
        self.chosen = [
            torch.zeros(self._rows(head), dtype=torch.bool, device=model.device)
            for head in range(model.layout.num_heads)
        ]

    def _rows(self, head: int) -> int:
        return self.model.vocabulary.size if self.model.layout.kind == "interleaved" else self.model.head_size(head)

    def feed(self, embeddings: Tensor) -> None:
        """Run float [1, L, width] through the backbone; keeps what text and heads read at the last position."""
        hidden = self.model.hidden(embeddings, past_key_values=self.cache, use_cache=True).last_hidden_state
        self.hidden = hidden[0, -1]
        self.states = self.model.head_states(hidden, past_key_values=self.head_cache, use_cache=True)[:, -1]

    def feed_ids(self, ids: Tensor) -> None:
        """Feed one step, int64 [H]."""
        self.steps += 1
        self.feed(self.model.embed(ids.to(self.model.device)[None, None]))

    def feed_step(self, step: list[int]) -> None:
        """Feed one step of codes, the one after those that were fed before."""
        vocabulary, layout = self.model.vocabulary, self.model.layout
        offsets = [vocabulary.code_offset(layout.stream_of(head, self.spoken)) for head in range(len(step))]
        ids = [vocabulary.pad if code == MISSING else code + at for code, at in zip(step, offsets, strict=True)]
        self.spoken += 1
        self.feed_ids(torch.tensor(ids))

    def text_token(self) -> int:
        """Choose the next text token, <sosp> or a control token that ends the text; never a code."""
        scores = self.model.text_scores(self.hidden)[: self.model.vocabulary.first_code]
        return int(scores.argmax())

    def speech_step(self) -> list[int] | None:
        """Choose the next step's codes, `MISSING` where it has none; None for the end."""
        if self.model.layout.kind == "interleaved":
            return self._one_code()
        return self._group() if self.model.layout.kind == "grouped" else self._late_codes()

    def _pick(self, head: int, scores: Tensor) -> int:
        scores = penalize(scores, self.chosen[head], self.penalty)
        row = choose(scores, self.sampling, self.generator)
        self.chosen[head][row] = True
        return row

    def _rows_in_turn(self, choice: Callable[[int, Tensor], int]) -> list[int]:
        """Let each head choose a row, knowing those before it where the model's heads look at them."""
        rows: list[int] = []
        cache = DynamicCache()
        for head in range(self.model.layout.num_heads):
            previous = torch.tensor(rows[-1:], device=self.model.device) if rows else None
            rows.append(choice(head, self.model.head_scores(head, self.states, previous, cache)[0]))
        return rows

    def _ends(self) -> list[int]:
        """Each head's row of ``<eosp>``; ``<pad>``'s is the next."""
        layout, sizes = self.model.layout, self.model.vocabulary.spec.codebook_sizes
        return [sizes[layout.stream_of(head)] for head in range(layout.num_heads)]

    def _group(self) -> list[int] | None:
        rows, ends, places = self._rows_in_turn(self._pick), self._ends(), self.model.layout.num_codebooks
        if any(row == end for row, end in zip(rows, ends, strict=True)):
            return None
        pads = [head for head, (row, end) in enumerate(zip(rows, ends, strict=True)) if row > end]
        kept = pads[0] // places * places if pads else len(rows)
        return rows[:kept] + [MISSING] * (len(rows) - kept)

    def _late_codes(self) -> list[int] | None:
        layout, ends = self.model.layout, self._ends()

        def choice(head: int, scores: Tensor) -> int:
            frame = self.spoken - layout.delay_of(head)
            if head == 0 and self.frames is None:
                row = self._pick(head, scores)
                if row < ends[head]:
                    return row
                self.frames = frame
            if frame < 0 or (self.frames is not None and frame >= self.frames):
                return ends[head] + 1
            # It owes a code, so that the speech is whole when it ends.
            return self._pick(
                head, scores.masked_fill(torch.arange(len(scores), device=scores.device) >= ends[head], -torch.inf)
            )

        rows = self._rows_in_turn(choice)
        if self.frames is not None and self.spoken >= layout.num_steps(self.frames):
            return None
        return [row if row < end else MISSING for row, end in zip(rows, ends, strict=True)]

    def _one_code(self) -> list[int] | None:
        vocabulary, layout = self.model.vocabulary, self.model.layout
        stream = layout.stream_of(0, self.spoken)
        first = vocabulary.code_offset(stream)
        allowed = torch.zeros(vocabulary.size, dtype=torch.bool, device=self.hidden.device)
        allowed[first : first + vocabulary.spec.codebook_sizes[stream]] = True
        # A frame is whole before the speech may end: success never depends on luck.
        allowed[vocabulary.eosp] = self.spoken % layout.num_codebooks == 0
        scores = self.model.text_scores(self.hidden).masked_fill(~allowed, -torch.inf)
        row = self._pick(0, scores)
        return None if row == vocabulary.eosp else [row - first]


@torch.inference_mode()
def generate(
    model: SpeechLM,
    prefix: list[int] | Tensor,
    placeholder: int | None,
    speaker: Tensor | None,
    sampling: Sampling,
    generator: torch.Generator,
) -> Generated:
    """Go on from ``prefix`` until the speech ends.

    Args:
        model: in eval mode.
        prefix: ids, `slmtk.data.prompts.prefix`, or int64 [L, H] where there are codes among them; speech begins at
            once if the last one is ``<sosp>``, else the model writes text until it emits ``<sosp>``.
        placeholder: index in ``prefix`` that the speaker's vector replaces.
        speaker: float32 [D].
        sampling: how codes are chosen; text is always the model's best.
        generator: of this utterance alone.

    Raises:
        ConfigError: a placeholder without a speaker vector.
    """
    started = time.perf_counter()
    result = Generated()
    decoder = _Decoder(model, sampling, generator)
    steps = prefix if isinstance(prefix, Tensor) else torch.tensor(prefix)[:, None].expand(-1, model.layout.num_heads)
    ids = steps.to(model.device)[None]
    place = None if placeholder is None else torch.tensor([[0, placeholder]], device=model.device)
    vector = None if placeholder is None or speaker is None else speaker.to(model.device)[None]
    decoder.feed(model.embed(ids, place, vector))
    if int(ids[0, -1, 0]) != model.vocabulary.sosp and not _write_text(decoder, result):
        result.reason = "no_speech"
        result.codes = torch.zeros(model.layout.num_codebooks, 0, dtype=torch.int64)
        result.steps = decoder.steps
        return result
    _speak(decoder, result, started)
    return result


def _write_text(decoder: _Decoder, result: Generated) -> bool:
    vocabulary, heads = decoder.model.vocabulary, decoder.model.layout.num_heads
    for _ in range(decoder.sampling.max_text_tokens):
        token = decoder.text_token()
        decoder.feed_ids(torch.full((heads,), token))
        if token == vocabulary.sosp:
            return True
        if token >= vocabulary.text_size:
            return False
        result.text_ids.append(token)
    return False


def _speak(decoder: _Decoder, result: Generated, started: float) -> None:
    model, sampling = decoder.model, decoder.sampling
    layout = model.layout
    rate = layout.steps_per_second(model.vocabulary.spec.frame_rate)
    max_steps = max(1, int(sampling.max_seconds * rate))
    if layout.kind == "delayed":
        max_steps = layout.num_steps(max_steps)
    loop_steps = int(sampling.loop_seconds * rate)
    steps: list[list[int]] = []
    result.reason = "no_end"
    while len(steps) < max_steps:
        step = decoder.speech_step()
        if result.first_step_seconds is None:
            result.first_step_seconds = time.perf_counter() - started
        if step is None:
            result.reason = ""
            break
        steps.append(step)
        if loop_steps and repeats(steps, loop_steps, layout.num_codebooks):
            result.reason = "loop"
            break
        decoder.feed_step(step)
    if layout.kind == "interleaved":
        steps = steps[: len(steps) // layout.num_codebooks * layout.num_codebooks]
    table = torch.tensor(steps, dtype=torch.int64).reshape(-1, layout.num_heads)
    result.codes = from_steps(table, layout)
    result.steps = decoder.steps
    if not result.codes.shape[1] and not result.reason:
        result.reason = "empty"


def repeats(steps: list[list[int]], length: int, max_period: int) -> bool:
    """Whether the last ``length`` steps are one pattern of at most ``max_period`` steps, said again and again."""
    if len(steps) < length:
        return False
    tail = steps[-length:]
    return any(tail[period:] == tail[:-period] for period in range(1, max_period + 1) if length > period)

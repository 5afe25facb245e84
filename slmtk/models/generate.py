"""A prompt -> text and codes, step by step, with a key-value cache: tokens -> codes.

Rules of the grouped layout, as in the authors' released models: any head that chooses ``<eosp>`` ends the speech and
the step is dropped; frames from the first ``<pad>`` on are dropped, and the speech goes on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from slmtk.data.collate import step_ids
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
        self.steps = 0
        self.hidden: Tensor = torch.empty(0)
        self.chosen = [
            torch.zeros(self._rows(head), dtype=torch.bool, device=model.device)
            for head in range(model.layout.num_heads)
        ]

    def _rows(self, head: int) -> int:
        return self.model.vocabulary.size if self.model.layout.kind == "interleaved" else self.model.head_size(head)

    def feed(self, embeddings: Tensor) -> None:
        """Run float [1, L, width] through the backbone; keeps the last position's hidden state [width]."""
        outputs = self.model.hidden(embeddings, past_key_values=self.cache, use_cache=True)
        self.hidden = outputs.last_hidden_state[0, -1]

    def feed_ids(self, ids: Tensor) -> None:
        """Feed one step, int64 [H]."""
        self.steps += 1
        self.feed(self.model.embed(ids.to(self.model.device)[None, None]))

    def text_token(self) -> int:
        """Choose the next text token, <sosp> or a control token that ends the text; never a code."""
        scores = self.model.text_scores(self.hidden)[: self.model.vocabulary.first_code]
        return int(scores.argmax())

    def speech_step(self) -> list[int] | None:
        """Choose the next step's codes (`MISSING` from the first pad's frame on); None for ``<eosp>``."""
        if self.model.layout.kind == "interleaved":
            return self._one_code()
        return self._group()

    def _pick(self, head: int, scores: Tensor) -> int:
        scores = penalize(scores, self.chosen[head], self.penalty)
        row = choose(scores, self.sampling, self.generator)
        self.chosen[head][row] = True
        return row

    def _group(self) -> list[int] | None:
        layout, sizes = self.model.layout, self.model.vocabulary.spec.codebook_sizes
        rows = [self._pick(head, self.model.heads[head](self.hidden)) for head in range(layout.num_heads)]
        limits = [sizes[layout.stream_of(head)] for head in range(layout.num_heads)]
        if any(row == limit for row, limit in zip(rows, limits, strict=True)):
            return None
        pads = [head for head, (row, limit) in enumerate(zip(rows, limits, strict=True)) if row > limit]
        kept = pads[0] // layout.num_codebooks * layout.num_codebooks if pads else len(rows)
        return rows[:kept] + [MISSING] * (len(rows) - kept)

    def _one_code(self) -> list[int] | None:
        vocabulary = self.model.vocabulary
        stream = self.spoken % self.model.layout.num_codebooks
        first = vocabulary.code_offset(stream)
        allowed = torch.zeros(vocabulary.size, dtype=torch.bool, device=self.hidden.device)
        allowed[first : first + vocabulary.spec.codebook_sizes[stream]] = True
        # A frame is whole before the speech may end: success never depends on luck.
        allowed[vocabulary.eosp] = stream == 0
        scores = self.model.text_scores(self.hidden).masked_fill(~allowed, -torch.inf)
        row = self._pick(0, scores)
        if row == vocabulary.eosp:
            return None
        self.spoken += 1
        return [row - first]

    spoken: int = 0


@torch.inference_mode()
def generate(
    model: SpeechLM,
    prefix: list[int],
    placeholder: int | None,
    speaker: Tensor | None,
    sampling: Sampling,
    generator: torch.Generator,
) -> Generated:
    """Go on from ``prefix`` until the speech ends.

    Args:
        model: in eval mode.
        prefix: ids, `slmtk.data.prompts.prefix`; speech begins at once if the last one is ``<sosp>``, else the model
            writes text until it emits ``<sosp>``.
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
    ids = torch.tensor(prefix, device=model.device)[None, :, None].expand(-1, -1, model.layout.num_heads)
    position = torch.tensor([-1 if placeholder is None else placeholder], device=model.device)
    vector = None if speaker is None else speaker.to(model.device)[None]
    decoder.feed(model.embed(ids, position, vector))
    if prefix[-1] != model.vocabulary.sosp and not _write_text(decoder, result):
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
    layout, vocabulary = model.layout, model.vocabulary
    rate = layout.steps_per_second(vocabulary.spec.frame_rate)
    max_steps = max(1, int(sampling.max_seconds * rate))
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
        ids = step_ids(torch.tensor([step]), vocabulary, layout)[0]
        if layout.kind == "interleaved":
            ids = torch.tensor([step[0] + vocabulary.code_offset((len(steps) - 1) % layout.num_codebooks)])
        decoder.feed_ids(ids)
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

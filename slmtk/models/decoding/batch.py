"""Many prompts -> text and codes, several utterances at a time: tokens -> codes.

A batch is a number of slots. Each holds an utterance, which writes text or speaks; all of them go on by one position
with every step of the backbone. A slot whose utterance has ended takes the next one at once. What an utterance says
depends on itself alone: it draws from its own generator, and no arithmetic mixes slots.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slmtk.errors import ConfigError
from slmtk.layout import from_steps
from slmtk.models.decoding.backbone import StepBackbone
from slmtk.models.decoding.batch_requests import Generated, Request, StreamStep
from slmtk.models.decoding.batch_scores import VocabularyRows
from slmtk.models.decoding.batch_slots import ENDED, LOOPS, SpeechSlots
from slmtk.models.decoding.mean import Average
from slmtk.models.speech_lm import SpeechLM

__all__ = ["BatchGenerator", "Generated", "Request", "StreamStep"]


class BatchGenerator:
    """A model that speaks requests, ``batch_size`` of them at a time.

    It reads the model's weights when it is made, and again for each run; do not train the model while it runs.
    """

    def __init__(
        self, model: SpeechLM, *, batch_size: int = 8, compile: str = "auto", average: Average | None = None
    ) -> None:
        """Prepare nothing yet.

        Args:
            model: in eval mode.
            batch_size: utterances at a time. It changes the time and the memory that are taken, and no result.
            compile: as for `StepBackbone`.
            average: the codec's `slmtk.codecs.base.Codec.average`, for requests that choose the mean's codes.

        Raises:
            ConfigError: ``batch_size`` is not positive.
        """
        if batch_size < 1:
            raise ConfigError(f"a batch size of {batch_size} speaks nothing; expected 1 or more")
        self.model, self.batch_size = model, batch_size
        self._compile, self._average = compile, average

    @torch.inference_mode()
    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Generated]]:
        """Speak all requests.

        Yields:
            (index, result) in the order in which they end; the index counts ``requests`` from 0.

        Raises:
            ConfigError: a placeholder without a speaker vector, or sampling that the model or its codec cannot do.
        """
        asked = list(requests)
        # The longest begin first: at the end of a run no slot is left alone with a long one.
        order = sorted(range(len(asked)), key=lambda index: -_expected_length(asked[index]))
        waiting = deque((index, asked[index]) for index in order)
        if not waiting:
            return
        batch = _Batch(self.model, asked, min(self.batch_size, len(asked)), self._compile, self._average)
        while waiting or batch.busy:
            free = batch.free[: len(waiting)]
            if free:
                batch.begin(free, [waiting.popleft() for _ in free])
            yield from batch.advance()

    @torch.inference_mode()
    def stream(self, request: Request) -> Iterator[StreamStep]:
        """Speak one request and give its frames as they become complete.

        Yields:
            pieces with one frame or more, then a last one with the result.

        Raises:
            ConfigError: a placeholder without a speaker vector, or sampling that the model or its codec cannot do.
        """
        layout = self.model.layout
        batch = _Batch(self.model, [request], 1, self._compile, self._average)
        batch.begin([0], [(0, request)])
        given = 0
        while True:
            done = batch.advance()
            if done:
                break
            said = batch.speech.said[0]
            # Steps that hold a whole frame once the last of them is there.
            span = 1 if layout.kind == "grouped" else layout.num_codebooks
            if said < span or (layout.kind == "interleaved" and said % span):
                continue
            codes = from_steps(batch.speech.steps(0, said - span), layout)
            if codes.shape[1]:
                given += codes.shape[1]
                yield StreamStep(codes)
        ((_, result),) = done
        assert result.codes is not None
        if result.codes.shape[1] > given:
            yield StreamStep(result.codes[:, given:])
        yield StreamStep(result.codes[:, :0], result)


@dataclass
class _Utterance:
    """A slot's request and its result so far."""

    index: int
    request: Request
    started: float
    result: Generated
    limit: int
    at_limit: str
    generator: torch.Generator


class _Batch:
    """S slots and what each of them read last."""

    def __init__(
        self, model: SpeechLM, requests: Sequence[Request], slots: int, compile: str, average: Average | None
    ) -> None:
        self._model = model
        rate = model.vocabulary.spec.frame_rate
        self._limits = {id(request): request.limit(model.layout, rate) for request in requests}
        most = max(limit for limit, _ in self._limits.values())
        texts = max(request.sampling.max_text_tokens for request in requests)
        prefixes = max(len(request.prefix) for request in requests)
        self._backbone = StepBackbone(model, slots, prefixes + texts + most + 1, compile=compile)
        self.speech = SpeechSlots(model, slots, most, requests[0].sampling, average)
        # A code is never written as text, however likely it looks.
        self._text_scores = VocabularyRows(model, 0, model.vocabulary.first_code, 1)
        self._slots: list[_Utterance | None] = [None] * slots
        width = model.backbone.get_input_embeddings().embedding_dim
        self._hidden = torch.zeros(slots, width, device=model.device, dtype=model.dtype)
        self._states = self._hidden

    @property
    def free(self) -> list[int]:
        """Slots that hold nobody."""
        return [slot for slot, utterance in enumerate(self._slots) if utterance is None]

    @property
    def busy(self) -> bool:
        """Whether somebody is being spoken."""
        return any(self._slots)

    def begin(self, slots: Sequence[int], requests: Sequence[tuple[int, Request]]) -> None:
        """Put requests, with their indices, into free slots."""
        started = time.perf_counter()
        model = self._model
        prefixes = []
        for slot, (index, request) in zip(slots, requests, strict=True):
            ids, embeddings = self._embed_prefix(request)
            prefixes.append(embeddings)
            generator = request.generator or torch.Generator().manual_seed(request.seed)
            limit, at_limit = self._limits[id(request)]
            utterance = _Utterance(index, request, started, Generated(), limit, at_limit, generator)
            self._slots[slot] = utterance
            if int(ids[-1, 0]) == model.vocabulary.sosp:
                self.speech.start(slot, request.sampling, generator)
        hidden, states = self._backbone.prefill(slots, prefixes)
        if len(slots) == len(self._slots):
            self._hidden, self._states = hidden, states
            return
        places = torch.tensor(slots, device=model.device)
        self._hidden = self._hidden.index_copy(0, places, hidden)
        self._states = self._states.index_copy(0, places, states)

    def _embed_prefix(self, request: Request) -> tuple[Tensor, Tensor]:
        model = self._model
        steps = torch.as_tensor(request.prefix)
        if steps.ndim == 1:
            steps = steps[:, None].expand(-1, model.layout.num_heads)
        place = None if request.placeholder is None else torch.tensor([[0, request.placeholder]], device=model.device)
        with_vector = request.placeholder is not None and request.speaker is not None
        vector = request.speaker.to(model.device)[None] if with_vector and request.speaker is not None else None
        return steps, model.embed(steps.to(model.device)[None], place, vector)[0]

    def advance(self) -> list[tuple[int, Generated]]:
        """Take one step in every slot; returns who has ended."""
        speaking = self.speech.speaking
        writing = [slot for slot, held in enumerate(self._slots) if held is not None and slot not in speaking]
        done: list[int] = []
        embeddings = self._hidden
        if speaking:
            embeddings, flags = self.speech.step(self._states)
            done = [slot for slot in speaking if self._has_ended(slot, flags[slot])]
        if writing:
            embeddings, silent = self._write(writing, embeddings)
            done += silent
        results = [self._finish(slot) for slot in done]
        if done:
            self._backbone.release(done)
        if self.busy:
            self._hidden, self._states = self._backbone.step(embeddings)
        return results

    def _has_ended(self, slot: int, flags: int) -> bool:
        utterance, said = self._slots[slot], self.speech.said[slot]
        assert utterance is not None
        result = utterance.result
        if result.first_step_seconds is None:
            result.first_step_seconds = time.perf_counter() - utterance.started
        if not flags and said < utterance.limit:
            return False
        result.reason = "" if flags & ENDED else "loop" if flags & LOOPS else utterance.at_limit
        steps, layout = self.speech.steps(slot), self._model.layout
        if layout.kind == "interleaved":
            steps = steps[: len(steps) // layout.num_codebooks * layout.num_codebooks]
        result.codes = from_steps(steps, layout)
        result.steps += said
        if not result.codes.shape[1] and not result.reason:
            result.reason = "empty"
        self.speech.stop(slot)
        return True

    def _write(self, writing: list[int], embeddings: Tensor) -> tuple[Tensor, list[int]]:
        """Let slots write a token of text each; returns all that is fed back, and who will not speak."""
        model, silent = self._model, []
        places = torch.tensor(writing, device=model.device)
        tokens = self._text_scores(self._hidden[places]).argmax(-1)
        for slot, token in zip(writing, tokens.tolist(), strict=True):
            utterance = self._slots[slot]
            assert utterance is not None
            utterance.result.steps += 1
            if token == model.vocabulary.sosp:
                self.speech.start(slot, utterance.request.sampling, utterance.generator)
                continue
            if token < model.vocabulary.text_size:
                utterance.result.text_ids.append(token)
            if token >= model.vocabulary.text_size or self._has_written_enough(utterance):
                utterance.result.reason = "no_speech"
                utterance.result.codes = torch.zeros(model.layout.num_codebooks, 0, dtype=torch.int64)
                silent.append(slot)
        ids = tokens[:, None, None].expand(-1, 1, model.layout.num_heads)
        return embeddings.index_copy(0, places, model.embed(ids)[:, 0].to(embeddings.dtype)), silent

    def _has_written_enough(self, utterance: _Utterance) -> bool:
        return len(utterance.result.text_ids) >= utterance.request.sampling.max_text_tokens

    def _finish(self, slot: int) -> tuple[int, Generated]:
        utterance = self._slots[slot]
        assert utterance is not None
        self._slots[slot] = None
        utterance.result.seconds = time.perf_counter() - utterance.started
        return utterance.index, utterance.result


def _expected_length(request: Request) -> int:
    return request.text_length or len(request.prefix)

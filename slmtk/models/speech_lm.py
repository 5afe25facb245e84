"""The speech language model: a text backbone that also reads and predicts codes. Tokens -> hidden -> text and codes.

One embedding table holds text, control tokens and codes (the backbone's own, made longer). A step of speech is the
fusion of its H codes' embeddings and predicts the next step's H codes by H heads; in the interleaved layout a code is a
token like any other. Source of the arithmetic: METHOD, and the behaviour of the authors' released models (losses,
masks, the order of heads).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, Cache, PreTrainedModel

from slmtk.errors import ConfigError, ShapeError
from slmtk.models.attention import check_packing, run_packed, set_attention, set_packed_attention
from slmtk.models.config import SpeechLMConfig
from slmtk.models.decoders import small_decoder
from slmtk.models.depth import DepthTransformer
from slmtk.models.heads import ConcatFusion, SpeakerProjection, head_losses, make_head
from slmtk.models.losses import Losses, linear_losses, mean_or_zero
from slmtk.models.outputs import SpeechLMOutput

HEAD_BODY_LAYERS = 2
"""Of the transformer head (METHOD, "Heads")."""

IGNORE = -100
"""A label that carries no loss, as everywhere in transformers."""


class SpeechLM(PreTrainedModel):  # type: ignore[misc]
    """A causal language model with speech heads; saved and loaded as any transformers model."""

    config_class = SpeechLMConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(self, config: SpeechLMConfig, backbone: PreTrainedModel | None = None) -> None:
        """Build the model, with random weights unless ``backbone`` (a causal LM) is given.

        Raises:
            ConfigError: the configuration does not describe a model.
        """
        super().__init__(config)
        config.check()
        self.vocabulary = config.make_vocabulary()
        self.layout = config.make_layout()
        if backbone is None:
            # Without the type of the base's weights: all parts of a model are of the type it is loaded in.
            settings = {name: value for name, value in (config.backbone or {}).items() if name != "dtype"}
            backbone = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))
        self.backbone = backbone
        if backbone.get_input_embeddings().num_embeddings != self.vocabulary.size:
            found = backbone.get_input_embeddings().num_embeddings
            raise ConfigError(f"the backbone has {found} embeddings; the vocabulary has {self.vocabulary.size} tokens")
        width = backbone.get_input_embeddings().embedding_dim
        self.heads = nn.ModuleList()
        self.head_body: PreTrainedModel | None = None
        self.depth: DepthTransformer | None = None
        self.fusion: nn.Module | None = None
        if self.layout.kind != "interleaved":
            self._add_heads(width)
        self.speaker: SpeakerProjection | None = None
        if config.speaker_dim:
            self.speaker = SpeakerProjection(config.speaker_dim, config.speaker_hidden, width)
        self.post_init()

    def _add_heads(self, width: int) -> None:
        sizes = [self.head_size(head) for head in range(self.layout.num_heads)]
        if self.config.head == "transformer":
            self.head_body = small_decoder(width, HEAD_BODY_LAYERS)
        if self.config.head == "depth":
            self.depth = DepthTransformer(width, sizes)
        into = width if self.depth is None else self.depth.width
        self.heads.extend(make_head(self.config.head, into, size) for size in sizes)
        if self.config.fusion == "concat":
            self.fusion = ConcatFusion(width, self.layout.num_heads)

    def head_size(self, head: int) -> int:
        """Rows of ``head``: its stream's codes, ``<eosp>`` and, where a step may lack its frame, ``<pad>``."""
        size = self.vocabulary.spec.codebook_sizes[self.layout.stream_of(head)]
        return size + 1 + self.layout.may_miss(head)

    def set_attention(self, name: str) -> None:
        """Choose how the sequence is attended to: "auto", "sdpa", "flash", "flex" or "eager".

        The depth transformer keeps to sdpa: its rows are a dozen codes long.

        Raises:
            ConfigError: unknown name, or the backbone or this machine cannot do it.
        """
        for part in (self.backbone, self.head_body):
            if part is not None:
                set_attention(part, name)

    def prepare_packing(self, *, by_example: bool) -> None:
        """Make sure that packed rows may be used with this backbone; costs two passes over a few positions.

        ``by_example`` attends within each example instead of under a mask over the row, which suits a CPU, where the
        attention can be chosen.

        Raises:
            ConfigError: an example would see its neighbour.
        """
        if by_example:
            for part in (self.backbone, self.head_body):
                if part is not None:
                    set_packed_attention(part)
        check_packing(self.backbone.base_model)

    def get_input_embeddings(self) -> nn.Module:
        """The one table of text, control tokens and codes."""
        table: nn.Module = self.backbone.get_input_embeddings()
        return table

    def embed(self, input_ids: Tensor, placeholder: Tensor | None = None, speaker: Tensor | None = None) -> Tensor:
        """Turn ids into what enters the backbone.

        Args:
            input_ids: int64 [B, L, H]; where there is text the H ids are equal.
            placeholder: int64 [P, 2], (row, position) pairs that a speaker's embedding replaces.
            speaker: float32 [P, D], their speaker vectors; only a speaker-aware model takes them.

        Returns:
            float [B, L, width].

        Raises:
            ConfigError: a placeholder without a speaker vector, or for a model that takes none.
            ShapeError: the speaker vectors are not as many as the pairs, or of another width than the model's.
        """
        embeddings: Tensor = self.backbone.get_input_embeddings()(input_ids)
        if self.fusion is None:
            fused = embeddings.mean(dim=2)
        else:
            first = input_ids[..., :1]  # a code, or the <pad> of a delayed stream: both have ids from first_code on
            speech = (first >= self.vocabulary.first_code) & (first != self.vocabulary.eosp)
            fused = torch.where(speech, self.fusion(embeddings), embeddings[:, :, 0])
        return self._with_speakers(fused, placeholder, speaker)

    def _with_speakers(self, fused: Tensor, placeholder: Tensor | None, speaker: Tensor | None) -> Tensor:
        count = 0 if placeholder is None else len(placeholder)
        if count and (self.speaker is None or speaker is None):
            raise ConfigError(
                "a prompt has a place for a speaker; this needs a speaker-aware model and a speaker vector"
            )
        if self.speaker is None:
            return fused
        dim = self.config.speaker_dim
        if placeholder is None or speaker is None:
            # Nobody speaks in this batch; going on with no vectors gives all parameters their gradient, of 0, which
            # training on several devices waits for.
            placeholder, speaker = fused.new_zeros(0, 2, dtype=torch.int64), fused.new_zeros(0, dim)
        if placeholder.ndim != 2 or placeholder.shape[1] != 2 or speaker.shape != (len(placeholder), dim):
            raise ShapeError(
                f"placeholders are {list(placeholder.shape)} and speaker vectors {list(speaker.shape)}; "
                f"expected [P, 2] and [P, {dim}]"
            )
        projected = self.speaker(speaker.to(fused.dtype)).to(fused.dtype)
        rows, places = placeholder.unbind(1)
        return fused.index_put((rows, places), projected)

    def hidden(self, inputs_embeds: Tensor, **backbone_arguments: Any) -> Any:
        """Run the backbone without its text head; returns its output with ``last_hidden_state`` [B, L, width]."""
        return _run(self.backbone.base_model, inputs_embeds, backbone_arguments)

    def head_states(self, hidden: Tensor, **arguments: Any) -> Tensor:
        """What the speech heads read, float [B, L, width] -> the same shape.

        It is the backbone's hidden states themselves; with a "transformer" head two causal layers (with rotary
        positions) go over them first, one stack for all heads, and behind it each head is linear. Text is predicted
        from the backbone's states in any case.

        Args:
            hidden: of the backbone.
            arguments: as for `hidden`; in generation a cache that is not the backbone's.
        """
        if self.head_body is None:
            return hidden
        states: Tensor = _run(self.head_body, hidden, arguments).last_hidden_state
        return states

    def head_scores(
        self, head: int, states: Tensor, previous: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Scores of one head, for generation.

        Args:
            head: in turn from 0.
            states: float [B, width], of `head_states`.
            previous: int64 [B], rows that the head before chose; read by the "depth" head alone.
            cache: of the "depth" head, a new one for every step of speech.

        Returns:
            float [B, V], V = ``head_size(head)``.
        """
        if self.depth is not None:
            if cache is None:
                raise ValueError("the depth head needs a cache that lives for one step")
            states = self.depth.step(states, head, previous, cache)
        scores: Tensor = self.heads[head](states)
        return scores

    def text_scores(self, hidden: Tensor) -> Tensor:
        """float [..., width] -> scores over the whole vocabulary, float [..., V]."""
        scores: Tensor = self.backbone.get_output_embeddings()(hidden)
        return scores

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        text_labels: Tensor | None = None,
        speech_labels: Tensor | None = None,
        placeholder: Tensor | None = None,
        speaker: Tensor | None = None,
        position_ids: Tensor | None = None,
        segments: Tensor | None = None,
        loss_weights: Tensor | None = None,
    ) -> SpeechLMOutput:
        """Return the losses of a batch.

        Labels stand at the position of the token itself; this method shifts them, nobody else does. The first position
        of an example never has one, so nothing is predicted across the border of two packed examples.

        Args:
            input_ids: int64 [B, L, H].
            attention_mask: int64 [B, L], 0 at padding (on the right); not with packed rows.
            text_labels: int64 [B, L], ids of the vocabulary or `IGNORE`.
            speech_labels: int64 [B, L, H], rows of each head or `IGNORE`; unused in the interleaved layout, whose
                codes are text labels.
            placeholder: int64 [P, 2]; see `embed`.
            speaker: float32 [P, D]; see `embed`.
            position_ids: int64 [B, L], of rows that hold several examples: from 0 in each of them.
            segments: int64 [B, L], which example of its row a position belongs to, 0 for padding. For who counts
                examples; the model tells them apart by ``position_ids``.
            loss_weights: float [2], of the text's and the speech's loss, in place of the configuration's; for batches
                that are a part of a step. Unused in the interleaved layout, which has one loss.

        Returns:
            the losses; without labels a loss of 0.

        Raises:
            ShapeError: a packed batch without ``position_ids``.
        """
        if segments is not None and position_ids is None:
            raise ShapeError(
                "packed rows need position_ids that begin again at 0 in each example; found segments alone"
            )
        arguments = {"attention_mask": attention_mask, "position_ids": position_ids, "use_cache": False}
        hidden = self.hidden(self.embed(input_ids, placeholder, speaker), **arguments).last_hidden_state
        if self.layout.kind == "interleaved":
            return self._interleaved_loss(hidden[:, :-1], text_labels)
        states = self.head_states(hidden, **arguments)
        weights = (self.config.text_weight, self.config.speech_weight) if loss_weights is None else loss_weights
        return self._stepwise_loss(hidden[:, :-1], states[:, :-1], text_labels, speech_labels, weights)

    def _interleaved_loss(self, hidden: Tensor, labels: Tensor | None) -> SpeechLMOutput:
        losses, targets = self._text_losses(hidden, labels)
        codes = targets >= self.vocabulary.code_offset(0)
        return SpeechLMOutput(
            loss=losses.total,
            text_loss=mean_or_zero(losses.each[~codes]),
            head_losses=mean_or_zero(losses.each[codes])[None],
            head_correct=losses.hits[codes].sum()[None],
            num_speech_targets=codes.sum(),
        )

    def _stepwise_loss(
        self,
        hidden: Tensor,
        states: Tensor,
        text: Tensor | None,
        speech: Tensor | None,
        weights: Tensor | tuple[float, float],
    ) -> SpeechLMOutput:
        text_losses, _ = self._text_losses(hidden, text)
        heads = self.layout.num_heads
        targets = _shifted(speech, hidden, heads)
        where = targets[..., 0] != IGNORE
        losses = head_losses(self.heads, self.depth, states[where], targets[where])
        count = len(losses.each)
        return SpeechLMOutput(
            loss=weights[0] * text_losses.total + weights[1] * losses.total / heads,
            text_loss=text_losses.total.detach(),
            head_losses=losses.each.sum(0) / max(1, count),
            head_correct=losses.hits.sum(0),
            num_speech_targets=torch.tensor(count, device=hidden.device),
        )

    def _text_losses(self, hidden: Tensor, labels: Tensor | None) -> tuple[Losses, Tensor]:
        """Losses [N, 1] of the positions that have a text label, and their labels [N]."""
        targets = _shifted(labels, hidden)
        where = targets != IGNORE
        targets = targets[where]
        return linear_losses(hidden[where], [self.backbone.get_output_embeddings()], targets[:, None]), targets


def _run(transformer: PreTrainedModel, inputs_embeds: Tensor, arguments: dict[str, Any]) -> Any:
    if arguments.get("position_ids") is not None:
        return run_packed(transformer, inputs_embeds, **arguments)
    return transformer(inputs_embeds=inputs_embeds, **arguments)


def _shifted(labels: Tensor | None, hidden: Tensor, heads: int = 0) -> Tensor:
    """Labels of the positions after each of ``hidden``'s (which lacks the last), all `IGNORE` where there are none."""
    if labels is not None:
        return labels[:, 1:]
    shape = (*hidden.shape[:2], heads) if heads else hidden.shape[:2]
    return torch.full(shape, IGNORE, dtype=torch.int64, device=hidden.device)

"""The speech language model: a text backbone that also reads and predicts codes. Tokens -> hidden -> text and codes.

One embedding table holds text, control tokens and codes (the backbone's own, made longer). A step of speech is the
fusion of its H codes' embeddings and predicts the next step's H codes by H heads. Source of the arithmetic: METHOD, and
the behaviour of the authors' released models (losses, masks, the order of heads).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import ModelOutput

from slmtk.errors import ConfigError, ShapeError
from slmtk.models.config import SpeechLMConfig
from slmtk.models.heads import ConcatFusion, SpeakerProjection, make_head

IGNORE = -100
"""A label that carries no loss, as everywhere in transformers."""


@dataclass
class SpeechLMOutput(ModelOutput):  # type: ignore[misc]
    """What a forward pass with labels gives.

    Attributes:
        loss: float [], what training lowers.
        text_loss: float [], cross-entropy of the text; of text and codes together in the interleaved layout.
        head_losses: float [H], cross-entropy of each head (interleaved: [1], of the codes and ``<eosp>``).
        head_correct: int64 [H], how many targets each head ranks first.
        num_speech_targets: int64 [], how many targets each head has.
    """

    loss: Tensor | None = None
    text_loss: Tensor | None = None
    head_losses: Tensor | None = None
    head_correct: Tensor | None = None
    num_speech_targets: Tensor | None = None


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
            settings = AutoConfig.for_model(**(config.backbone or {}))
            backbone = AutoModelForCausalLM.from_config(settings)
        self.backbone = backbone
        if backbone.get_input_embeddings().num_embeddings != self.vocabulary.size:
            found = backbone.get_input_embeddings().num_embeddings
            raise ConfigError(f"the backbone has {found} embeddings; the vocabulary has {self.vocabulary.size} tokens")
        width = backbone.get_input_embeddings().embedding_dim
        self.heads = nn.ModuleList()
        self.fusion: nn.Module | None = None
        if self.layout.kind == "grouped":
            for head in range(self.layout.num_heads):
                self.heads.append(make_head(config.head, width, self.head_size(head)))
            if config.fusion == "concat":
                self.fusion = ConcatFusion(width, self.layout.num_heads)
        self.speaker: SpeakerProjection | None = None
        if config.speaker_dim:
            self.speaker = SpeakerProjection(config.speaker_dim, config.speaker_hidden, width)
        self.post_init()

    def head_size(self, head: int) -> int:
        """Rows of ``head``: its stream's codes, ``<eosp>`` and, beyond a step's first frame, ``<pad>``."""
        size = self.vocabulary.spec.codebook_sizes[self.layout.stream_of(head)]
        return size + 1 + (self.layout.frame_in_step(head) > 0)

    def get_input_embeddings(self) -> nn.Module:
        """The one table of text, control tokens and codes."""
        table: nn.Module = self.backbone.get_input_embeddings()
        return table

    def embed(self, input_ids: Tensor, placeholder: Tensor | None = None, speaker: Tensor | None = None) -> Tensor:
        """Turn ids into what enters the backbone.

        Args:
            input_ids: int64 [B, L, H]; where there is text the H ids are equal.
            placeholder: int64 [B], the position that the speaker's embedding replaces, -1 for none.
            speaker: float32 [B, D], needed by a speaker-aware model wherever there is a placeholder.

        Returns:
            float [B, L, width].

        Raises:
            ConfigError: a placeholder without a speaker vector, or for a model that takes none.
            ShapeError: the speaker vectors have another width than the model's.
        """
        embeddings: Tensor = self.backbone.get_input_embeddings()(input_ids)
        if self.fusion is None:
            fused = embeddings.mean(dim=2)
        else:
            first = input_ids[..., :1]  # never <pad>: an utterance's last step begins with a frame of codes
            speech = (first >= self.vocabulary.first_code) & (first != self.vocabulary.eosp)
            fused = torch.where(speech, self.fusion(embeddings), embeddings[:, :, 0])
        if placeholder is None or not bool((placeholder >= 0).any()):
            return fused
        if self.speaker is None or speaker is None:
            raise ConfigError(
                "a prompt has a place for a speaker; this needs a speaker-aware model and a speaker vector"
            )
        if speaker.shape != (len(input_ids), self.config.speaker_dim):
            raise ShapeError(f"speaker vectors are {list(speaker.shape)}; expected [B, {self.config.speaker_dim}]")
        rows = (placeholder >= 0).nonzero()[:, 0]
        projected = self.speaker(speaker[rows].to(fused.dtype)).to(fused.dtype)
        fused = fused.clone()
        fused[rows, placeholder[rows]] = projected
        return fused

    def hidden(self, inputs_embeds: Tensor, **backbone_arguments: Any) -> Any:
        """Run the backbone without its text head; returns its output with ``last_hidden_state`` [B, L, width]."""
        return self.backbone.base_model(inputs_embeds=inputs_embeds, **backbone_arguments)

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
    ) -> SpeechLMOutput:
        """Return the losses of a batch.

        Labels stand at the position of the token itself; this method shifts them, nobody else does.

        Args:
            input_ids: int64 [B, L, H].
            attention_mask: int64 [B, L], 0 at padding (on the right).
            text_labels: int64 [B, L], ids of the vocabulary or `IGNORE`.
            speech_labels: int64 [B, L, H], rows of each head or `IGNORE`; unused in the interleaved layout, whose
                codes are text labels.
            placeholder: int64 [B]; see `embed`.
            speaker: float32 [B, D]; see `embed`.

        Returns:
            the losses; without labels a loss of 0.
        """
        embeddings = self.embed(input_ids, placeholder, speaker)
        hidden = self.hidden(embeddings, attention_mask=attention_mask, use_cache=False).last_hidden_state[:, :-1]
        if self.layout.kind == "interleaved":
            return self._interleaved_loss(hidden, text_labels)
        return self._grouped_loss(hidden, text_labels, speech_labels)

    def _interleaved_loss(self, hidden: Tensor, labels: Tensor | None) -> SpeechLMOutput:
        targets = _shifted(labels, hidden)
        scores = self.text_scores(hidden[targets != IGNORE])
        targets = targets[targets != IGNORE]
        losses = F.cross_entropy(scores.float(), targets, reduction="none")
        codes = targets >= self.vocabulary.code_offset(0)
        correct = (scores.argmax(-1) == targets)[codes].sum()
        return SpeechLMOutput(
            loss=_mean(losses),
            text_loss=_mean(losses[~codes]).detach(),
            head_losses=_mean(losses[codes])[None].detach(),
            head_correct=correct[None],
            num_speech_targets=codes.sum(),
        )

    def _grouped_loss(self, hidden: Tensor, text: Tensor | None, speech: Tensor | None) -> SpeechLMOutput:
        text_targets = _shifted(text, hidden)
        where = text_targets != IGNORE
        text_losses = F.cross_entropy(self.text_scores(hidden[where]).float(), text_targets[where], reduction="none")
        heads = self.layout.num_heads
        speech_targets = _shifted(speech, hidden, heads)
        where = speech_targets[..., 0] != IGNORE
        targets, states = speech_targets[where], hidden[where]
        losses, correct = [], []
        for head in range(heads):
            scores = self.heads[head](states)
            losses.append(_mean(F.cross_entropy(scores.float(), targets[:, head], reduction="none")))
            correct.append((scores.detach().argmax(-1) == targets[:, head]).sum())
        head_losses = torch.stack(losses)
        text_loss = _mean(text_losses)
        return SpeechLMOutput(
            loss=self.config.text_weight * text_loss + self.config.speech_weight * head_losses.mean(),
            text_loss=text_loss.detach(),
            head_losses=head_losses.detach(),
            head_correct=torch.stack(correct),
            num_speech_targets=torch.tensor(len(targets), device=hidden.device),
        )


def _shifted(labels: Tensor | None, hidden: Tensor, heads: int = 0) -> Tensor:
    """Labels of the positions after each of ``hidden``'s (which lacks the last), all `IGNORE` where there are none."""
    if labels is not None:
        return labels[:, 1:]
    shape = (*hidden.shape[:2], heads) if heads else hidden.shape[:2]
    return torch.full(shape, IGNORE, dtype=torch.int64, device=hidden.device)


def _mean(losses: Tensor) -> Tensor:
    """Mean, and 0 (not NaN) of nothing: a batch may hold no text or no speech."""
    return losses.sum() / max(1, losses.numel())

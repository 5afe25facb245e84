"""Speech -> how natural it would sound to listeners, without a reference: UTMOS, by its strong learner's network.

Source: Saeki et al., "UTMOS: UTokyo-SaruLab System for VoiceMOS Challenge 2022", Interspeech 2022. The weights are
those of tarepan/SpeechMOS, utmos22_strong_step7459_v1.pt: a wav2vec 2.0 under fairseq's names, the vectors of one
domain and one judge, a two-way LSTM and two linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slmtk import audio
from slmtk.codecs.weights import Published, load_strictly, locate, read_state, sha256_of
from slmtk.errors import AudioError, FormatError, ShapeError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
FILE = "mos/utmos22_strong_step7459_v1.pt"
PUBLISHED = Published("k2-fsa/TTS_eval_models", "e876de7154845cd668b599bd4866f1d354c723df", (FILE,))

# The network's frames reach over 400 samples; an opinion on less than a tenth of a second is none.
_MIN_SECONDS = 0.1
_HEAD_SIZE = 64
_STRIDES = (5, 2, 2, 2, 2, 2, 2)
_ENCODER = "wav2vec2."
# fairseq's names -> those of transformers; the first that fits is taken.
_RENAMED = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"^feature_extractor\.conv_layers\.0\.2\.", r"feature_extractor.conv_layers.0.layer_norm."),
    (r"^layer_norm\.", r"feature_projection.layer_norm."),
    (r"^post_extract_proj\.", r"feature_projection.projection."),
    (r"^encoder\.pos_conv\.0\.bias$", r"encoder.pos_conv_embed.conv.bias"),
    (r"^encoder\.pos_conv\.0\.weight_g$", r"encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"^encoder\.pos_conv\.0\.weight_v$", r"encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"^encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"^encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"^encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"^encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
)


class Utmos:
    """The network with its weights.

    Attributes:
        name: as it is written into scores: "utmos22-strong" and the first digits of the weights' digest.
    """

    name: str

    def __init__(self, checkpoint: Path | None = None, device: str = "cpu") -> None:
        """Load the file ``checkpoint``, or the published one from the hub.

        Raises:
            WeightsError: it is neither here nor can it be fetched.
            FormatError: it holds other tensors than UTMOS22's strong learner.
        """
        path = find_weights(checkpoint)
        state = read_state(path)
        with torch.device("meta"):
            network = _Network(state, path)
        load_strictly(network, _renamed(state), path)
        self._network = network.to(device).eval()
        self._device = device
        self.name = f"utmos22-strong {sha256_of(path)[:8]}"

    def __call__(self, wav: Tensor, sample_rate: int) -> float:
        """Return the predicted mean opinion of one utterance, about 1 (bad) to 5 (excellent).

        Args:
            wav: float32 [S] in [-1, 1].
            sample_rate: Hz; other rates than 16 kHz are resampled.

        Raises:
            ShapeError: ``wav`` is not [S].
            AudioError: it holds NaN or infinite samples ("nan") or less than 0.1 s ("too_short").
        """
        if wav.ndim != 1:
            raise ShapeError(f"audio is {list(wav.shape)}; UTMOS takes one utterance [S]")
        samples = audio.resample(wav.detach().cpu().float(), sample_rate, SAMPLE_RATE)
        if not bool(samples.isfinite().all()):
            raise AudioError("an utterance to judge holds NaN or infinite samples", kind="nan")
        if len(samples) < _MIN_SECONDS * SAMPLE_RATE:
            raise AudioError(f"less than {_MIN_SECONDS} s in an utterance to judge", kind="too_short")
        with torch.inference_mode():
            return float(self._network(samples[None].to(self._device))[0])


def find_weights(checkpoint: Path | None = None) -> Path:
    """Return the path of the weights; call it early to learn whether they are there.

    Raises:
        WeightsError: they are neither here nor can they be fetched.
    """
    if checkpoint is not None and not checkpoint.exists():
        raise WeightsError(f"{checkpoint} is not there; expected UTMOS weights such as {Path(FILE).name}")
    try:
        return locate(PUBLISHED, FILE, checkpoint)
    except WeightsError as error:
        if checkpoint is not None:
            raise
        raise WeightsError(
            "the weights of UTMOS are not in the cache and cannot be fetched; where there is internet run "
            f"`hf download {PUBLISHED.repo} {FILE} --revision {PUBLISHED.revision}`, or name a copy as utmos:FILE"
        ) from error


class _Network(nn.Module):
    """float32 [B, S] at 16 kHz -> opinions [B]; its sizes are those of the tensors of ``state``."""

    def __init__(self, state: Mapping[str, Tensor], path: Path) -> None:
        super().__init__()
        try:
            self.wav2vec2 = _encoder(state)
            domain, judge = state["domain_emb"].shape[-1], state["judge_emb"].shape[-1]
            gates, width = state["blstm.weight_ih_l0"].shape
            inner = state["projection.0.weight"].shape[0]
        except (KeyError, ValueError, IndexError) as error:
            raise FormatError(f"{path} is no UTMOS22 strong learner ({error}); expected {Path(FILE).name}") from error
        self.domain_emb = nn.Parameter(torch.empty(1, domain))
        self.judge_emb = nn.Parameter(torch.empty(1, judge))
        self.blstm = nn.LSTM(width, gates // 4, batch_first=True, bidirectional=True)
        self.projection = nn.Sequential(nn.Linear(gates // 2, inner), nn.ReLU(), nn.Linear(inner, 1))

    def forward(self, wav: Tensor) -> Tensor:
        heard = self.wav2vec2(wav).last_hidden_state
        told = torch.cat([self.domain_emb, self.judge_emb], dim=1).expand(*heard.shape[:2], -1)
        frames = self.projection(self.blstm(torch.cat([heard, told], dim=2))[0])
        # It was trained on opinions brought from 1..5 to -1..1.
        opinions: Tensor = frames.mean(dim=(1, 2)) * 2 + 3
        return opinions


def _encoder(state: Mapping[str, Tensor]) -> Any:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    kernels = [state[f"{_ENCODER}feature_extractor.conv_layers.{i}.0.weight"].shape for i in range(len(_STRIDES))]
    position = state[f"{_ENCODER}encoder.pos_conv.0.weight_v"].shape
    layers = {match[1] for name in state if (match := re.match(rf"{_ENCODER}encoder\.layers\.(\d+)\.", name))}
    config = Wav2Vec2Config(
        hidden_size=position[0],
        num_hidden_layers=len(layers),
        num_attention_heads=position[0] // _HEAD_SIZE,
        intermediate_size=state[f"{_ENCODER}encoder.layers.0.fc1.weight"].shape[0],
        conv_dim=[shape[0] for shape in kernels],
        conv_kernel=[shape[2] for shape in kernels],
        conv_stride=list(_STRIDES),
        num_conv_pos_embeddings=position[2],
        num_conv_pos_embedding_groups=position[0] // position[1],
        # No frame is masked when speech is only heard: then there is no vector for masked ones.
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
    )
    return Wav2Vec2Model(config)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        inner = name.removeprefix(_ENCODER)
        if inner == name:
            named[name] = tensor
        # The vector for masked frames, of training alone.
        elif inner != "mask_emb":
            named[_ENCODER + _rename(inner)] = tensor
    return named


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMED:
        new, count = re.subn(pattern, replacement, name)
        if count:
            return new
    return name

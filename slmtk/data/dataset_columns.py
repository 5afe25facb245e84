"""A dataset's columns and rows, between codes and training: what its Parquet files hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_NAME = "slmtk.json"
METADATA_KEY = b"slmtk"
TASK_JOIN = "+"
"""Stands between the tasks of an utterance that is used for several."""


@dataclass(frozen=True)
class SpeakerVectors:
    """What a dataset's column of speaker vectors holds.

    Attributes:
        encoder: "codec" for the codec's own, else the speaker encoder as `slmtk.speakers.base.load_named_encoder`
            takes it; "" if there are none.
        dim: D, 0 if there are none.
        weights: encoder and weights as the encoder calls itself, "" for the codec.
    """

    encoder: str
    dim: int
    weights: str = ""

    @classmethod
    def of_codec(cls, spec: CodecSpec) -> SpeakerVectors:
        """The vectors that come with the codes of ``spec``."""
        return cls("codec" if spec.speaker_dim else "", spec.speaker_dim)


@dataclass(frozen=True)
class DatasetRow:
    """One thing to learn: a text and its speech, or a text alone.

    Attributes:
        id: the utterance's, unique in the dataset.
        task: one of `slmtk.data.prompts.TASKS`; on disk also several of them, as "tts+asr".
        text: what is said, normalised; for "text" the response, as it was written.
        question: what was asked, for answers; the instruction, if any, for "text".
        codes: int64 [K, T]; T is 0 for "text".
        speaker_vector: float32 [D], None if there is none.
        speaker: the corpus's name of the speaker.
        num_frames: T.
        num_text_tokens: tokens of text and question, without the prompt's own words.
        duration: seconds of audio.
        timbre: float32 [D'], the codec's own vector where ``speaker_vector`` is another encoder's; else None.
        question_codes: int64 [K, T''], the spoken question; None if there is none.
    """

    id: str
    task: str
    text: str
    question: str | None
    codes: NDArray[np.int64]
    speaker_vector: NDArray[np.float32] | None
    speaker: str | None
    num_frames: int
    num_text_tokens: int
    duration: float
    timbre: NDArray[np.float32] | None = None
    question_codes: NDArray[np.int64] | None = None

    @property
    def num_question_frames(self) -> int:
        """T'' of the spoken question, 0 if there is none."""
        return 0 if self.question_codes is None else self.question_codes.shape[1]

    def codec_vector(self, speakers: SpeakerVectors) -> NDArray[np.float32] | None:
        """The vector that the codec decodes with, float32 [D']; None if it takes none."""
        return self.speaker_vector if speakers.encoder == "codec" else self.timbre


def dataset_schema(
    spec: CodecSpec, speakers: SpeakerVectors | None = None, *, spoken_questions: bool = False
) -> pa.Schema:
    """Return the columns of a dataset's Parquet files, in order.

    Args:
        spec: of the codec.
        speakers: whose speaker vectors; None for the codec's.
        spoken_questions: questions have codes of their own. These columns come last, and a dataset without spoken
            questions has none of them.
    """
    import pyarrow as pa

    speakers = speakers or SpeakerVectors.of_codec(spec)

    code_type = pa.uint32() if max(spec.codebook_sizes) > 65_536 else pa.uint16()
    columns = [(name, pa.string()) for name in ("id", "task", "speaker", "text", "question")]
    columns += [("codes", pa.list_(code_type)), ("num_frames", pa.int32()), ("num_text_tokens", pa.int32())]
    columns.append(("duration", pa.float32()))
    if speakers.dim:
        columns.append(("speaker_vector", pa.list_(pa.float32(), speakers.dim)))
    if spec.speaker_dim and speakers.encoder != "codec":
        columns.append(("timbre", pa.list_(pa.float32(), spec.speaker_dim)))
    if spoken_questions:
        columns += [("question_codes", pa.list_(code_type)), ("num_question_frames", pa.int32())]
    return pa.schema(columns)

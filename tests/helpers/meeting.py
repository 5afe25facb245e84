"""A codec that begins when two processes have it: so a cluster's machines are surely both at work."""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor

from slmtk.codecs.base import Encoded
from tests.helpers.tone import SlowToneCodec


class MeetingToneCodec(SlowToneCodec):
    """`SlowToneCodec` that waits until two processes have left their ids in the folder it takes for its weights."""

    meeting: Path

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> MeetingToneCodec:
        assert checkpoint is not None
        codec = cls()
        codec.meeting = checkpoint
        return codec

    def encode(self, wav: Tensor) -> Encoded:
        (self.meeting / str(os.getpid())).touch()
        while len(list(self.meeting.iterdir())) < 2:
            time.sleep(0.02)
        return super().encode(wav)

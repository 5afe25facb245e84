"""A codec that does not exist and the ways to lay out its codes: what benchmarks of models have in common."""

from __future__ import annotations

from slmtk.spec import CodecSpec, Stream

SPEC = CodecSpec("made-up", 16_000, 200, tuple(Stream(name, 1024) for name in ("prosody", "content1", "content2")))
"""80 frames a second of three streams, as FACodec's."""

CASES = {
    "NTP": ("interleaved", 1, "linear"),
    "MTP-3": ("grouped", 1, "linear"),
    "MTP-6": ("grouped", 2, "linear"),
    "MTP-12": ("grouped", 4, "linear"),
    "MTP-12 mlp": ("grouped", 4, "mlp"),
    "MTP-12 transformer": ("grouped", 4, "transformer"),
    "MTP-12 depth": ("grouped", 4, "depth"),
    "delayed": ("delayed", 1, "linear"),
}
"""Layout, frames a step and head of the models that are compared."""

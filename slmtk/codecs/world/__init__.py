"""The embedded codec: speech <-> content, prosody and a speaker vector with the WORLD vocoder, offline on one core."""

from slmtk.codecs.world.codec import WorldCodec

__all__ = ["WorldCodec"]

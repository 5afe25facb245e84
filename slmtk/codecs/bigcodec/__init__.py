"""BigCodec: speech <-> one stream of 8,192 codes at 80 frames a second."""

from slmtk.codecs.bigcodec.codec import BigCodec

__all__ = ["BigCodec"]

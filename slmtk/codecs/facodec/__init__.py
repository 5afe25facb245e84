"""FACodec of NaturalSpeech 3: speech <-> content, prosody, residual and a voice, from its published weights."""

from slmtk.codecs.facodec.codec import Facodec6V2, FacodecRedecoder, FacodecV1, FacodecV2

__all__ = ["Facodec6V2", "FacodecRedecoder", "FacodecV1", "FacodecV2"]

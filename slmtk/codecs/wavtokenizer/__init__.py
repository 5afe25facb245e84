"""WavTokenizer: audio <-> one stream of 4,096 codes at 75 or 40 frames a second."""

from slmtk.codecs.wavtokenizer.codec import WavTokenizer40, WavTokenizer75

__all__ = ["WavTokenizer40", "WavTokenizer75"]

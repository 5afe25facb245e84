"""SpeechTokenizer: speech <-> one semantic and seven residual streams at 50 frames a second, two published models."""

from slmtk.codecs.speechtokenizer.codec import SpeechTokenizer, SpeechTokenizerSnake

__all__ = ["SpeechTokenizer", "SpeechTokenizerSnake"]

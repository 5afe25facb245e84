"""Recognisers of the transformers library: speech -> words with Whisper, HuBERT, wav2vec 2.0, Moonshine, Parakeet."""

from slmtk.asr.hf.recognizer import TransformersRecognizer

__all__ = ["TransformersRecognizer"]

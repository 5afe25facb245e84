"""Codecs whose networks transformers implements: what slmtk adds is its codec interface, never a second network."""

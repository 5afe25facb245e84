"""Codecs: audio -> codes and back. One module or folder each, found through the plug-in door."""

"""Recognisers: speech -> words, to measure what a model says. One module each, found through the plug-in door."""

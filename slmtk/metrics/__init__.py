"""Scores: texts, vectors and answers -> numbers with intervals."""

"""Codes and text -> what a model is trained on: prompts, filters, splits, collation."""

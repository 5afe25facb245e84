"""Text -> speech without a model: the embedded corpus that machines without recordings begin with."""

"""The speech language model: tokens and codes -> text and codes."""

"""Stages: each reads files, writes files and returns a report; a command is one of them."""

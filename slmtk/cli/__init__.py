"""The commands: options in, a stage, its report out."""

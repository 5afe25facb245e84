"""Where the work of a stage runs: processes of this machine, or a Ray cluster."""

"""``python -m slmtk``: the same commands as ``slmtk``."""

from slmtk.cli.main import main

if __name__ == "__main__":
    main()

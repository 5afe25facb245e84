"""Settings of a comparison of scores."""

from __future__ import annotations

from dataclasses import dataclass

from slmtk.errors import ConfigError


@dataclass(frozen=True)
class CompareConfig:
    """What is compared with what, and how carefully."""

    baseline: str | None = None
    """Name of a row, or folder of a run, that the others are tested against; None: the first row."""
    names: tuple[str, ...] = ()
    """Of the runs, in their order; none: their folders' names."""
    force: bool = False
    """Show scores under each other that were made in different ways."""
    split: str | None = None
    """Of benchmarks of answers: this split alone; None: all questions."""
    bootstrap_samples: int = 1000
    """Draws for a p-value."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        """Check numbers and names.

        Raises:
            ConfigError: no draws, or a name that is empty or given twice.
        """
        if self.bootstrap_samples < 1:
            raise ConfigError(f"bootstrap samples: {self.bootstrap_samples}; expected 1 or more")
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ConfigError(f"names {', '.join(map(repr, self.names))}; each run needs one of its own")

"""What can go wrong on the way from audio to score; every kind carries one line for the user."""


class SlmtkError(Exception):
    """A mistake or an input that a user can mend: says what was found, what was expected and what to do."""


class AudioError(SlmtkError):
    """A sound file that cannot be read or holds no usable audio."""

    def __init__(self, message: str, *, kind: str = "unreadable") -> None:
        """``kind`` is one word for counting: unreadable, empty, nan, too_short, too_long."""
        super().__init__(message)
        self.kind = kind


class ShapeError(SlmtkError):
    """A tensor whose shape, type or range is not what the interface asks for."""


class FormatError(SlmtkError):
    """A file or folder on disk that is not what slmtk writes, or is damaged."""


class CodecMismatchError(SlmtkError):
    """Codes, dataset or model made with another codec than the one they are used with."""


class ConfigError(SlmtkError):
    """An option or configuration value that cannot be used."""


class CorpusError(SlmtkError):
    """A corpus folder, manifest or dataset in which no utterances can be found."""


class WeightsError(SlmtkError):
    """A codec's or model's weights that are not here and cannot be fetched."""


class PluginError(SlmtkError):
    """A plug-in that is unknown, clashes with another or breaks its contract."""


class MissingDependencyError(SlmtkError):
    """An optional package that is needed for what was asked and is not installed."""


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, or the error's kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(error: BaseException) -> str:
    """Return another library's message without its line breaks, or the error's kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__

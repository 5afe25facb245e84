"""The command group: what ``slmtk`` runs. A command's module is imported when it is called, so --help is fast."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from typing import NoReturn

import click

from slmtk import __version__
from slmtk.errors import SlmtkError

# Command -> the one line that `slmtk --help` shows; the command lives in slmtk/cli/<name with _>.py.
# The order is the order of work.
COMMANDS = {
    "make-corpus": "Write the embedded corpus: sentences of a small grammar in synthetic voices, offline.",
    "tokenize": "Encode recorded speech into shards of codes.",
    "inspect": "Show what a folder of codes holds; --resynth writes it as audio.",
    "build-dataset": "Turn codes and text into a training set.",
    "train": "Train a speech language model.",
    "import-checkpoint": "Turn a released checkpoint of arXiv 2506.12537 into a model.",
    "synth": "Speak text with a trained model, in a reference's voice.",
    "convert": "Speak recordings again in another voice.",
    "eval-wer": "Score speech: WER, CER, similarity, success, with intervals.",
    "roletrivia-build": "Make a benchmark of spoken answers from trivia questions and voices.",
    "roletrivia-bench": "Score spoken role-playing question answering: EM, F1, SIM, WER.",
    "compare": "Put scores under each other: one table of several systems, and which differ significantly.",
    "codecs": "List the codecs that are installed.",
    "doctor": "Check the installation and say how to mend it.",
}

# What a person has to mend outside slmtk, and a traceback would only hide.
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command ``name``; None if there is none."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"slmtk.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' table without importing one of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one names its nearest neighbour."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="slmtk")
def cli() -> None:
    """Build speech language models: tokenize speech, train an LLM to speak, measure what it says.

    \b
    audio --tokenize--> codes --build-dataset--> dataset --train--> model --synth--> speech --eval-wer--> scores

    Exit status: 0 done, 1 could not, 2 wrong usage, 3 done except for inputs that failed.
    """


def main() -> None:
    """Run the command line and exit; a user's mistake is one line on stderr, a bug is a traceback."""
    # OpenMP threads that spin at barriers made small training five times slower wherever anything else ran.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        status = cli.main(sys.argv[1:] or ["--help"], prog_name="slmtk", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "slmtk"
        message = error.format_message()
        message += "" if message.endswith((".", "?")) else "."
        click.echo(f"{command}: {message} See '{command} --help'.", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as error:
        _stop("interrupted" if isinstance(error.__cause__, KeyboardInterrupt) else "stopped: no answer", 130)
    except KeyboardInterrupt:
        _stop("interrupted", 130)
    except SlmtkError as error:
        _stop(str(error), 1)
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise
        _stop(": ".join(str(part) for part in (error.strerror, error.filename) if part), 1)
    sys.exit(status if isinstance(status, int) else 0)


def _stop(message: str, status: int) -> NoReturn:
    click.echo(f"slmtk: {message}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()

"""Write docs/cli.md from the commands themselves; with --check, compare it and exit 1 if it is out of date."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import click

from slmtk.cli.main import COMMANDS, cli

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Commands

Written by `make docs` from the commands themselves; do not edit it by hand.

`slmtk VERB SOURCE OUT --long-option`. The result goes to stdout: tables on a terminal, JSON in a pipe or with `--json`.
Messages and progress go to stderr. Every option can also stand in a TOML file handed over with `--config FILE.toml`
(`max-seconds = 20` or `max_seconds = 20` for `--max-seconds 20`); the command line wins.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | could not: one line on stderr says what was found, what was expected and what to do |
| 2 | wrong usage |
| 3 | done, except for inputs that failed; they are listed beside the output |
| 130 | interrupted (Ctrl-C) |
"""


def page() -> str:
    """The whole of docs/cli.md."""
    context = click.Context(cli, info_name="slmtk")
    sections = [HEAD]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        sections.append(section(command, click.Context(command, info_name=name, parent=context)))
    return "\n".join(sections)


def section(command: click.Command, context: click.Context) -> str:
    """One command: usage, what it does, its arguments and options."""
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    usage = " ".join(["slmtk", str(command.name), *(argument_name(a) for a in arguments), "[OPTIONS]"])
    lines = [f"## slmtk {command.name}", "", f"    {usage}", "", paragraphs(command.help or ""), ""]
    lines += ["| option | default | what it does |", "|---|---|---|"]
    lines += [row(option, context) for option in options]
    return "\n".join(lines) + "\n"


def argument_name(argument: click.Argument) -> str:
    """SOURCE, [OUT] or CODES..."""
    name = str(argument.metavar or argument.human_readable_name).upper()
    name = name.removesuffix("...").strip("[]")
    name += "..." if argument.nargs != 1 else ""
    return name if argument.required else f"[{name}]"


def paragraphs(text: str) -> str:
    """A docstring as Markdown: click's \\b paragraphs keep their lines."""
    blocks = []
    for block in text.split("\f")[0].strip().split("\n\n"):
        first, _, rest = block.partition("\n")
        if first.strip() == "\b":
            blocks.append(textwrap.indent(textwrap.dedent(rest), "    "))
        else:
            blocks.append(" ".join(block.split()))
    return "\n\n".join(blocks)


def row(option: click.Option, context: click.Context) -> str:
    """One line of the table of options."""
    spellings = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag or option.count else f" {value_name(option)}"
    help_text = (option.help or "").replace("|", "\\|")
    return f"| `{spellings}{value}` | {default(option, context)} | {help_text} |"


def value_name(option: click.Option) -> str:
    """What stands behind an option: a\\|b for choices, PATH, INTEGER 1.., or the option's own word."""
    kind = option.type
    if option.metavar:
        name = option.metavar
    elif isinstance(kind, click.Choice):
        name = "\\|".join(str(choice) for choice in kind.choices)
    elif isinstance(kind, click.Path):
        name = "PATH"
    elif isinstance(kind, (click.IntRange, click.FloatRange)):
        low, high = ("" if bound is None else f"{bound:g}" for bound in (kind.min, kind.max))
        name = f"{kind.name.split()[0].upper()} {low}..{high}"
    else:
        name = kind.name.upper()
    return f"{name}..." if option.multiple else name


def default(option: click.Option, context: click.Context) -> str:
    """The default as the help shows it; empty if there is none."""
    if option.required:
        return "required"
    value = option.get_default(context, call=False)
    if isinstance(option.show_default, str):
        return option.show_default
    if value is None or type(value).__name__ == "Sentinel" or value == () or callable(value):
        return ""
    if option.is_flag:
        names = option.opts if value else option.secondary_opts
        return f"`{names[0]}`" if option.secondary_opts and names else ""
    return f"`{value}`" if value != "" else ""


def main() -> int:
    """Write the page, or compare it."""
    text = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is not what the commands say; run: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

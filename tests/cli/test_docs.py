"""docs/cli.md says what the commands say, and the other pages name no option that is not there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import click
import pytest

from slmtk.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*.sh"))]


def make_cli():
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_current():
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == make_cli().page(), "run: make docs"


def test_a_paragraph_keeps_its_lines_where_the_help_says_so():
    assert make_cli().paragraphs("One\n  line.\n\n\b\n  a  x\n    b  y\n") == "One line.\n\n    a  x\n      b  y"


def test_a_table_row_tells_spelling_default_and_range():
    option = click.Option(["--rate"], type=click.FloatRange(0, 1), default=0.5, show_default=True, help="a|b")
    context = click.Context(click.Command("x", params=[option]))
    assert make_cli().row(option, context) == "| `--rate FLOAT 0..1` | `0.5` | a\\|b |"


def usages(text: str) -> list[tuple[str, list[str]]]:
    """(command, its long options) of every `slmtk VERB ...` in a page, lines that end in a backslash joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(r"(?:^|[\s`$(])(?:slmtk|run) ([a-z][a-z-]+)([^\n`|;&#]*)", joined)
    return [(verb, re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", rest)) for verb, rest in found if verb in COMMANDS]


@pytest.mark.parametrize("path", [p for p in PAGES if p.is_file()], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_option_that_a_page_shows_exists(path):
    wrong = []
    for verb, options in usages(path.read_text(encoding="utf-8")):
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        known = {o for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
        wrong += [f"slmtk {verb} {option}" for option in options if option not in known | {"--help"}]
    assert wrong == []


@pytest.mark.parametrize("path", [p for p in PAGES if p.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(path):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []

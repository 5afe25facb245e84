"""Every command's face: fast help, options that explain themselves, --config everywhere, mistakes in one line."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from slmtk import __version__
from slmtk.cli._options import settings_of
from slmtk.cli.main import COMMANDS, cli


def module_name(command: str) -> str:
    return f"slmtk.cli.{command.replace('-', '_')}"


LANDED = [name for name in COMMANDS if importlib.util.find_spec(module_name(name))]


def load(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def options_of(name: str) -> list[click.Option]:
    return [p for p in load(name).params if isinstance(p, click.Option)]


def run(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "slmtk", *args], capture_output=True, text=True, cwd=cwd, timeout=60)


def modules_after(*args: str) -> set[str]:
    """Names of the modules that are loaded once `slmtk ARGS` has run in a new interpreter."""
    code = (
        "import sys\nfrom slmtk.cli.main import cli\n"
        f"try:\n    cli.main({list(args)!r}, prog_name='slmtk')\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "numpy", "transformers", "pyarrow", "datasets", "rich", "soundfile"}


def test_help_loads_no_command_and_nothing_heavy():
    loaded = modules_after("--help")
    assert loaded & HEAVY == set()
    assert {name for name in COMMANDS if module_name(name) in loaded} == set()


def test_the_help_of_every_command_loads_nothing_heavy():
    code = "import sys\nfrom slmtk.cli.main import cli\n"
    for name in LANDED:
        code += f"try:\n    cli.main([{name!r}, '--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        code += f"heavy = {HEAVY!r} & set(sys.modules)\nassert not heavy, ({name!r}, heavy)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_command_that_help_lists_exists():
    assert list(COMMANDS) == LANDED


def test_help_lists_every_command_with_its_line():
    done = run("--help")
    text = " ".join(done.stdout.split())
    assert done.returncode == 0
    for name, line in COMMANDS.items():
        assert f"{name} {line}" in text


def test_no_arguments_is_a_question_for_help():
    assert run().stdout == run("--help").stdout


def test_python_m_slmtk_tells_its_version():
    assert run("--version").stdout == f"slmtk, version {__version__}\n"


@pytest.mark.parametrize("name", LANDED)
def test_the_command_is_called_as_it_is_listed_and_says_what_it_does(name):
    command = load(name)
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", LANDED)
def test_every_option_has_help_and_shows_its_default(name):
    for option in options_of(name):
        spelling = option.opts[0]
        assert option.help, f"{spelling} has no help text"
        plain = option.is_flag or option.multiple or option.required or option.default in (None, (), "")
        unset = type(option.default).__name__ == "Sentinel"  # click 8.3 and later
        assert plain or unset or option.show_default, f"{spelling} hides its default {option.default!r}"


@pytest.mark.parametrize("name", LANDED)
def test_every_command_with_settings_takes_a_config_file(name):
    settings = set(settings_of(load(name))) - {"json"}
    has_config = any(option.name == "config" for option in options_of(name))
    assert has_config or not settings, f"add @config_option to {name}: it has {sorted(settings)}"


def test_one_option_is_spelled_and_typed_alike_in_all_commands():
    shapes: dict[str, dict[str, list[str]]] = {}
    for name in LANDED:
        for option in options_of(name):
            shape = f"{option.type.name} flag={option.is_flag}"
            shapes.setdefault(option.opts[0], {}).setdefault(shape, []).append(name)
    assert {spelling: shape for spelling, shape in shapes.items() if len(shape) > 1} == {}


def test_long_options_are_words_joined_by_hyphens():
    spellings = [o for name in LANDED for option in options_of(name) for o in option.opts if o.startswith("--")]
    assert [s for s in spellings if s != s.lower() or "_" in s] == []


with_config = [name for name in LANDED if any(option.name == "config" for option in options_of(name))]


@pytest.mark.parametrize("name", with_config)
def test_an_unknown_key_in_the_config_file_is_one_line_with_the_near_name(name, tmp_path):
    key = sorted(settings_of(load(name)), key=len)[-1]
    path = tmp_path / "c.toml"
    path.write_text(f"{key}x = 1\n")
    with pytest.raises(click.ClickException) as caught:
        cli.main([name, "--config", str(path)], standalone_mode=False)
    assert caught.value.exit_code == 2
    assert caught.value.format_message() == f"{path}: unknown setting '{key}x'; did you mean {key!r}?"


def test_a_setting_from_the_file_is_used_and_the_command_line_wins(tmp_path):
    from slmtk.cli import _options

    seen = {}

    @click.command()
    @click.option("--max-seconds", default=1.0)
    @_options.json_option
    @_options.seed_option
    @_options.config_option
    def command(**values: object) -> None:
        seen.update(values)

    path = tmp_path / "c.toml"
    path.write_text("max-seconds = 2.5\nseed = 7\njson = true\n")
    command.main(["--config", str(path), "--seed", "9"], standalone_mode=False)
    assert seen == {"max_seconds": 2.5, "seed": 9, "as_json": True}


@pytest.mark.parametrize(
    ("args", "status", "line"),
    [
        (["tokenze"], 2, "slmtk: No such command 'tokenze'. Did you mean 'tokenize'? See 'slmtk --help'.\n"),
        (
            ["codecs", "--jsn"],
            2,
            "slmtk codecs: No such option '--jsn'. Did you mean '--json'? See 'slmtk codecs --help'.\n",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(args, status, line):
    done = run(*args)
    # The hint in the middle is click's, and older versions of click word it otherwise.
    first, last = line.split(".")[0], line.split("? ")[-1]
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(first)
    assert done.stderr.endswith(last)
    assert done.stderr.count("\n") == 1


def run_main(body: str) -> subprocess.CompletedProcess[str]:
    """`slmtk` with one command "go" whose body is ``body``."""
    code = (
        "import os, signal, sys, click\nfrom slmtk import errors\nfrom slmtk.cli import main as m\n"
        f"def go():\n    {body}\n"
        "m.cli.get_command = lambda ctx, name: click.Command(name, callback=go)\n"
        "m.COMMANDS['go'] = 'x'\nsys.argv = ['slmtk', 'go']\nm.main()\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("body", "status", "stderr"),
    [
        ("pass", 0, ""),
        ("click.get_current_context().exit(3)", 3, ""),
        ("raise errors.CorpusError('no audio in x')", 1, "slmtk: no audio in x\n"),
        ("raise PermissionError(13, 'Permission denied', 'out/x')", 1, "slmtk: Permission denied: out/x\n"),
        ("raise OSError(28, 'No space left on device')", 1, "slmtk: No space left on device\n"),
        (
            "raise click.BadParameter('must not be 0')",
            2,
            "slmtk go: Invalid value: must not be 0. See 'slmtk go --help'.\n",
        ),
    ],
)
def test_the_exit_status_and_the_line_on_stderr(body, status, stderr):
    done = run_main(body)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", stderr)


def test_ctrl_c_is_one_line_and_status_130():
    done = run_main("os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(30)")
    assert done.returncode == 130
    assert done.stderr.strip() == "slmtk: interrupted"


def test_a_bug_is_a_traceback():
    done = run_main("raise ZeroDivisionError('ours')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("ZeroDivisionError: ours\n")


def test_a_file_that_is_not_there_but_should_be_is_a_bug():
    assert "Traceback" in run_main("open('no/such/file')").stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe that closes")
def test_a_reader_that_goes_away_is_no_traceback():
    command = [
        sys.executable,
        "-c",
        "import sys; from slmtk.cli.main import main; sys.argv = ['slmtk', '--help']; main()",
    ]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.close()
    assert "Traceback" not in writer.stderr.read()
    assert writer.wait(timeout=60) != -signal.SIGKILL

"""The first thing a user sees, and how fast."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nas.cli.commands import COMMANDS

HEAVY = {"torch", "ray", "optuna", "numpy", "pandas", "rich", "ruamel", "sklearn", "plotly"}


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys\nfrom nas.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert python(code).splitlines()[-1] == "[]"


def test_importing_nas_imports_nothing_heavy():
    assert python(f"import sys, nas; print(sorted({HEAVY!r} & set(sys.modules)))").strip() == "[]"


def test_help_names_every_command_with_a_whole_sentence(nas):
    told = nas("--help")
    assert told.code == 0
    commands = told.out.partition("Commands:")[2]
    assert "..." not in commands
    for name in COMMANDS:
        assert f"  {name} " in commands
        assert nas(name, "--help").code == 0


def test_module_and_version():
    done = subprocess.run(
        [sys.executable, "-m", "nas", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("nas 0.")


def test_an_unknown_command_and_an_unknown_option_say_the_nearest(nas):
    told = nas("serch")
    assert told.code == 2 and "search" in told.err
    told = nas("search", "--budgt", "1min")
    assert told.code == 2 and "--budget" in told.err

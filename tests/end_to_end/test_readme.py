"""What the README says, run: its commands, its Python, its example of a space."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import environment

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def searches() -> list[str]:
    lines = [line for text in blocks("console") for line in text.splitlines()]
    return sorted({line[line.index("nas search") :] for line in lines if "nas search" in line})


@pytest.mark.parametrize("line", [line for line in searches() if "cifar10" not in line])
def test_every_search_would_run(nas, line):
    words = shlex.split(line, comments=True)[1:]
    done = nas(*words, "--dry-run")
    assert done.code == 0, done.err


def test_the_main_job_is_one_command_that_installs_and_runs():
    main = [text for text in blocks("console") if "pip install ." in text and "nas search" in text]
    assert len(main) == 1 and len(main[0].strip().splitlines()) == 1


def test_every_command_of_the_table_answers(here):
    named = set(re.findall(r"`nas ([a-z]+)", README.read_text())) - {"search"}
    assert {"show", "runs", "dashboard", "stop", "train", "predict", "test"} <= named
    for name in named:
        assert here(name, "--help").code == 0, name


def test_the_example_space_is_a_space_and_nothing_is_wrong_with_it(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("yaml")
    (tmp_path / "mine.yaml").write_text(example)
    told = here("spaces", "--check", "mine", "--size", "8", "--channels", "1", "--json")
    assert told.code == 0 and told.json["errors"] == 0, told.out
    assert told.json["draws"] > 0


@pytest.mark.slow
def test_the_example_space_is_searched(nas, tmp_path):
    (example,) = blocks("yaml")
    (tmp_path / "mine.yaml").write_text(example)
    words = ("search", "--space", "mine", "--data", "digits", "--budget", "2trials")
    done = nas(*words, "--set", "recipe.epochs=1", "--json")
    assert done.code == 0, done.err
    assert done.json["space"] == "mine"


def test_every_space_is_named_and_the_networks_are_counted():
    page = README.read_text()
    spaces = README.parent / "search_spaces"
    assert [f.stem for f in spaces.glob("*.yaml") if f"`{f.stem}`" not in page] == []
    assert f"{len(list((spaces / 'zoo').glob('*.yaml')))} documented\nnetworks" in page


def test_the_plug_in_is_taken(nas, tmp_path):
    (code,) = blocks("py")
    (tmp_path / "my_cells.py").write_text(code)
    rows = "[{op: gated, name: a, channels: !choice [16, 32]}, {op: global_pool}, {op: linear}]"
    (tmp_path / "own.yaml").write_text(f"network: {rows}\n")
    words = ("describe", "own.yaml", "--size", "8", "--channels", "1", "--classes", "10", "--json")
    done = nas(*words, "--plugin", "my_cells.py")  # a process of its own, for it registers a name
    assert done.code == 0, done.err
    assert done.json["params"] == 2 * (9 * 16 + 16) + 170


def test_the_python_runs(tmp_path):
    (code,) = blocks("python")
    assert 'budget="2min"' in code
    code = code.replace('"2min"', '"2trials"')
    guarded = "if __name__ == '__main__':\n" + "".join(f"    {x}\n" for x in code.splitlines())
    (tmp_path / "script.py").write_text(guarded)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True,
        env=environment(), check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target

"""Standard output that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
HELP = [["--help"], ["show", "--help"]]  # printed by Typer
VERSION, TABLE, JSON = ["--version"], ["describe", "lenet5"], ["describe", "lenet5", "--json"]


def nas(words, output) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "nas", *words], stdout=output, stderr=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@needs_full
@pytest.mark.parametrize("words", [VERSION, TABLE, pytest.param(JSON, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_sentence(words):
    with FULL.open("w") as output:
        code, said = nas(words, output)
    assert code == 1
    assert said == "error: standard output cannot be written (No space left on device)\n"


@pytest.mark.parametrize(
    "words", [VERSION, JSON, pytest.param(TABLE, marks=pytest.mark.slow), *HELP]
)
def test_a_reader_that_left_hears_nothing(words):
    """As of `cat FILE | head -1`: ended by SIGPIPE, which is neither a success nor a failure."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert nas(words, writer) == (141, "")
    finally:
        os.close(writer)


@needs_full
def test_a_search_whose_words_found_no_space_leaves_them_in_its_log(searched, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(searched["run"], run)
    with FULL.open("w") as output:
        assert nas(["search", "--resume", str(run)], output) == (0, "")
    assert "what was printed could not all be written" in (run / "log.txt").read_text()


def test_what_is_said_into_a_closed_stream_lands_in_no_file():
    shell = f"{sys.executable} -m nas --version >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], check=False).returncode == 0

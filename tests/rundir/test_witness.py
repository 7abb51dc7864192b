"""A search whose process ends without a word is told of by the process beside it."""

from __future__ import annotations

import subprocess
import sys

import pytest

WATCHED = """
import os, signal, sys
from pathlib import Path
from nas.rundir import dismiss, witnessed

with witnessed(Path(sys.argv[1])):
    {work}
"""
SUDDEN = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    "crashed": "os.abort()",
    "ended by a library": "os._exit(1)",
    "with a child that lives on": "os.fork() or __import__('time').sleep(3); os._exit(1)",
}
ORDERLY = {
    "its end": "pass",
    "an error": "sys.exit('reason')",
    "a second Ctrl-C": "dismiss(); os._exit(130)",
}


def watched(work: str, folder) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", WATCHED.format(work=work), str(folder)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("work", SUDDEN.values(), ids=SUDDEN)
def test_an_end_without_a_word_is_told_on_the_screen_and_in_the_log(work, tmp_path):
    folder = tmp_path / "a run"
    folder.mkdir()
    done = watched(work, folder)
    assert done.returncode != 0
    for said in (done.stderr, (folder / "log.txt").read_text()):
        assert "ended without a word" in said
        assert f"nas search --resume '{folder}'" in said


@pytest.mark.parametrize("work", ORDERLY.values(), ids=ORDERLY)
def test_an_end_with_reason_is_not_told_of(work, tmp_path):
    done = watched(work, tmp_path)
    assert "without a word" not in done.stderr
    assert not (tmp_path / "log.txt").exists()


def test_the_kernel_is_named_where_it_killed_for_memory(tmp_path, monkeypatch):
    """The count of its kills rises between two looks; the pipe is at its end at once."""
    import os

    from nas.rundir import witness

    ours, theirs = os.pipe()
    os.close(theirs)
    counts = iter([3, 4])
    monkeypatch.setattr(witness, "kills", lambda: next(counts))
    before = os.dup(0)
    os.dup2(ours, 0)
    try:
        said = witness.watch(os.getppid(), tmp_path)
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(ours)
    assert "want of memory" in said

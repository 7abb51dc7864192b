"""The processes below ours that belong to a Ray's folder, found and ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nas.search.backend.processes import end, of_session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
# ignores what can be ignored, and has a child; says its pid
PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def parent(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_a_session_is_found_with_all_below_it_and_ended(parent, tmp_path):
    child = int(parent.stdout.readline())
    found = of_session(str(tmp_path))
    assert {pid for pid, _ in found} == {parent.pid, child}
    assert of_session(str(tmp_path / "another")) == []
    end((pid, started + 1) for pid, started in found)
    assert parent.poll() is None, "another process has the pid now"
    end(found)
    assert parent.wait(timeout=90) == -9
    parent.stdout.read()  # the child held it open
    end(found)


def test_this_process_is_none_of_them(tmp_path):
    assert os.getpid() not in dict(of_session(""))

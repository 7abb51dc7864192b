"""Files that are whole or not there at all, on disks that are full."""

from __future__ import annotations

import errno
import os
import time
import zipfile

import pytest

from nas.errors import RunError
from nas.rundir import (
    CHECKPOINT,
    PREVIOUS,
    Request,
    RunDir,
    checkpoint_fault,
    files,
    leftovers,
    patient,
    write_bytes,
    write_checkpoint,
    write_text,
)


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    write_text(tmp_path / "a.txt", "old")
    with monkeypatch.context() as patched:
        patched.setattr(os, step, full)
        with pytest.raises(OSError, match="No space"):
            write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_who_is_patient_waits_until_it_goes_through(tmp_path, monkeypatch):
    class Waiting:
        waits, went_through = 0, False

        def wait(self, path):
            self.waits += 1
            if self.waits == 3:
                monkeypatch.undo()

        def written(self):
            self.went_through = True

    monkeypatch.setattr(os, "fsync", full)
    waiting = Waiting()
    with patient(waiting):
        write_text(tmp_path / "a.txt", "new")
    assert (waiting.waits, waiting.went_through) == (3, True)
    assert (tmp_path / "a.txt").read_text() == "new"


def test_other_errors_are_not_waited_for(tmp_path):
    class Never:
        def wait(self, path):
            raise AssertionError("waited")

        def written(self):
            raise AssertionError("told")

    with patient(Never()), pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "none" / "a.txt", b"")


def checkpoint(content: bytes) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", content)
    return file.getvalue()


def test_the_checkpoint_before_the_last_one_stays_until_the_trial_ends(tmp_path):
    for content in (b"one", b"two", b"three"):
        write_checkpoint(tmp_path, checkpoint(content))
    assert (tmp_path / CHECKPOINT).read_bytes() == checkpoint(b"three")
    assert (tmp_path / PREVIOUS).read_bytes() == checkpoint(b"two")
    files.settle(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_checkpoint_cut_anywhere_or_changed_is_found_out(tmp_path):
    whole = checkpoint(b"weights" * 50)
    file = tmp_path / CHECKPOINT
    file.write_bytes(whole)
    assert checkpoint_fault(file) is None
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        assert checkpoint_fault(file), size
    at = whole.index(b"weights")
    file.write_bytes(whole[:at] + b"W" + whole[at + 1 :])
    assert checkpoint_fault(file)
    assert checkpoint_fault(tmp_path / "none.pt") == "missing"


def test_leftovers_of_a_killed_process_are_found(tmp_path, monkeypatch):
    (tmp_path / "trials" / "3").mkdir(parents=True)
    monkeypatch.setattr(os, "unlink", lambda *_: None)  # a killed process does not clean up
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        for folder in (tmp_path, tmp_path / "trials" / "3"):
            with pytest.raises(OSError):
                write_text(folder / "a.txt", "x")
    write_text(tmp_path / "b.txt", "x")
    assert [file.parent for file in leftovers(tmp_path)] == [tmp_path, tmp_path / "trials" / "3"]


def request(plugins=()):
    return Request(
        "s.yaml", "s", "", "", False, "none", "3trials", plugins=[str(p) for p in plugins]
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space left on device.*free some space, or name one elsewhere"),
        (errno.EFBIG, "File too large.*ulimit -f unlimited"),
        (errno.EACCES, r"Permission denied\): name one elsewhere"),
    ],
)
def test_a_folder_is_made_whole_or_not_at_all(tmp_path, monkeypatch, code, words):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match=words):
        RunDir.create(tmp_path / "run", request(), "", {})
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_killed_while_it_made_a_folder_left_is_swept(tmp_path):
    old, young = tmp_path / ".new-old", tmp_path / ".new-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "request.yaml").touch()
    before = time.time() - 3600
    os.utime(old, (before, before))
    RunDir.create(tmp_path / "run", request(), "", {})
    assert sorted(f.name for f in tmp_path.iterdir()) == [".new-young", "run"]

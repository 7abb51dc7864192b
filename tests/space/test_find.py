"""Which file a name means."""

from pathlib import Path

import pytest

from nas.space import find, load, shipped

FILE = "network: [{op: linear}]\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_bare_word_is_a_shipped_space(here):
    assert find("tiny") == shipped() / "tiny.yaml"


def test_the_working_folder_comes_first(here):
    (here / "tiny.yaml").write_text(FILE)
    assert find("tiny") == Path("tiny.yaml")
    assert load("tiny").path == "tiny.yaml"


def test_a_folder_of_that_name_is_ignored(here):
    (here / "tiny").mkdir()
    (here / "tiny.yaml").mkdir()
    assert find("tiny") == shipped() / "tiny.yaml"


def test_the_zoo_comes_last(here, monkeypatch):
    folder = here / "shipped"
    (folder / "zoo").mkdir(parents=True)
    (folder / "zoo" / "net.yaml").write_text(FILE)
    monkeypatch.setattr("nas.space.files.shipped", lambda: folder)
    assert find("net") == folder / "zoo" / "net.yaml"
    (folder / "net.yaml").write_text(FILE)
    assert find("net") == folder / "net.yaml"


@pytest.mark.parametrize("source", ["a/tiny", "tiny.yaml", "./tiny.yaml", "b.json"])
def test_a_slash_or_an_ending_makes_a_path(here, source):
    assert find(source) == Path(source)


def test_a_byte_order_mark_is_no_content(here):
    (here / "s.yaml").write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    assert load("s").text == FILE

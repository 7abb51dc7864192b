"""Where a space's file is: the working folder, the shipped spaces, the zoo; or a path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import SpaceError, UnknownName, UserError
from .bases import BASE, base_of, joined
from .constants import set_constants
from .document import Document, Faults, compose
from .space import Architecture, Space, compile_space, parse_document

ENDINGS = (".yaml", ".yml", ".json")


def shipped() -> Path:
    """The folder of the spaces that come along: in the wheel, or beside `nas/` in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def find(source: str | Path) -> Path:
    """The file that a name or a path means.

    A bare word is ./NAME.yaml, then a shipped space, then one of the zoo. Anything with a slash,
    or ending in .yaml, is a path. Raises UnknownName with the nearest name.
    """
    if not isinstance(source, str | Path):
        raise UserError(f"a file is named by text or a Path, not {source!r}")
    word = str(source)
    path = Path(source).expanduser()
    is_path = isinstance(source, Path) or path.suffix.lower() in ENDINGS
    if is_path or "/" in word or os.sep in word:
        return path
    for folder in (Path(), shipped(), shipped() / "zoo"):
        candidate = folder / f"{word}.yaml"
        if candidate.is_file():
            return candidate
    if word and path.exists():
        what = "a folder" if path.is_dir() else "no file of that kind"
        raise UserError(
            f"{word} is {what}: a space or network is named by a word, or by a file that ends in "
            f"{', '.join(ENDINGS)}"
        )
    raise UnknownName("space or network", word, _names())


def _names() -> list[str]:
    folders = (Path(), shipped(), shipped() / "zoo")
    return sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})


def read(path: Path) -> str:
    """The text of a file. Raises SpaceError where there is none to read."""
    if path.is_dir():
        raise SpaceError("is a folder; name the file in it", str(path))
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        near = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        there = f"; in that folder: {', '.join(sorted(near)[:10])}" if near else ""
        raise SpaceError(f"there is no such file{there}", str(path)) from None
    except UnicodeDecodeError as error:
        raise SpaceError(
            f"is no UTF-8 text (byte {error.start}); save it as UTF-8", str(path)
        ) from None
    except (OSError, ValueError) as error:
        raise SpaceError(f"cannot be read: {error}", str(path)) from None


def load(
    source: str | Path, *, constants: Mapping[str, object] | None = None
) -> Space | Architecture:
    """A name or a path to a Space, or to an Architecture where the file has no hole.

    `constants`: path -> value, put in the place of any value or hole (`--set`); text is read as
    YAML. Raises UnknownName, SpaceError.
    """
    document = _document(find(source), ())
    return set_constants(document, constants) if constants else parse_document(document)


def faults_of(source: str | Path) -> list[SpaceError]:
    """Every fault of a file's grammar, in the order of its lines; empty where `load` takes it.

    One that follows from another is left out. Raises UnknownName for an unknown name, and
    SpaceError where there is no file to read.
    """
    path, faults = find(source), list[SpaceError]()
    read(path)
    try:
        document = _document(path, (), faults)
        if not (faults and BASE in document.root.entries):
            compile_space(replace(document, faults=faults))
    except SpaceError as error:
        faults.append(error)
    alike: dict[tuple[str, str], SpaceError] = {}
    for fault in faults:  # an untied row's are told of each repetition
        alike.setdefault((fault.where, re.sub(r"\.\d+(?=[.: ])", "", str(fault))), fault)
    return sorted(alike.values(), key=_line)


def _line(fault: SpaceError) -> int:
    number = fault.where.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _document(path: Path, above: tuple[Path, ...], faults: Faults = None) -> Document:
    """A file, joined with its base, if it has one; `above`: the files whose base it is.

    `faults`: of a linter, which gets the file alone where it notes some before the base is read.
    """
    document = compose(read(path), str(path), faults=faults)
    word = base_of(document)
    if word is None or faults:
        return document
    node, chain = document.root.entries[BASE].value, (*above, path)
    base = _beside(path, word, document.where(node))
    if any(other.resolve() == base.resolve() for other in chain):
        names = " -> ".join(other.stem for other in (*chain, base))
        raise document.fault(f"the bases lead back to where they began: {names}", node)
    if not base.is_file():
        raise document.fault(f"its base {word!r} is no file: there is no {base}", node)
    return joined(document, _document(base, chain))


def _beside(path: Path, word: str, where: str) -> Path:
    """What a base's name means: a file in the same folder, else what it means everywhere."""
    if Path(word).suffix.lower() in ENDINGS or "/" in word or os.sep in word:
        return path.parent / Path(word).expanduser()
    beside = path.parent / f"{word}.yaml"
    if beside.is_file():
        return beside
    try:
        return find(word)
    except UnknownName as error:
        raise UnknownName("base", word, error.known, where) from None


def require_architecture(loaded: Space | Architecture) -> Architecture:
    """What has no hole. Raises SpaceError that names the first one."""
    if isinstance(loaded, Architecture):
        return loaded
    hole = loaded.holes[0]
    raise SpaceError(
        f"an architecture without holes is wanted here, and {hole.name} is one; put a value there, "
        "or search it with: nas search --space " + loaded.path,
        loaded.document.where(hole.line),
    )

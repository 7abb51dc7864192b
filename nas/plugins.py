"""Operators of the user's own: a Python file (`--plugin my_cells.py`), or an installed package.

A plug-in registers what it brings when it is imported:

    from torch import nn
    from nas.models import operator

    @operator("my_cell")
    class MyCell(nn.Module): ...

A package names its modules in the entry point group `nas.operators`; they are imported with the
first look at the operators.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from .errors import UserError, hint

GROUP = "nas.operators"
_loaded: dict[str, Path] = {}  # by the sha256 of their text: a copy in a run folder is the same


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Import plug-in files, each text once a process. Raises UserError for one that fails."""
    for path in paths:
        load_plugin(Path(path))


def load_plugin(path: Path) -> None:
    """Import one plug-in file. Raises UserError where it is missing, or its code fails."""
    try:
        content = path.read_bytes()
    except OSError as error:
        beside = [str(other) for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UserError(
            f"the plug-in {path} cannot be read ({error.strerror})"
            f"{hint(str(path), beside) if beside else ''}"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest in _loaded:
        return
    name = f"nas_plugin_{path.stem}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"the plug-in {path} is no Python file: it must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # torch pickles, and type hints are looked up, by it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"{_place(path, error)}: the plug-in fails with {_words(error)}") from error
    _loaded[digest] = path


def load_installed() -> None:
    """Import what installed packages bring. Raises UserError with the package that fails."""
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist is not None else "a package"
            raise UserError(
                f"{package} brings the operators {entry.value!r}, which fail with "
                f"{_words(error)}; mend or uninstall it"
            ) from error


def _place(path: Path, error: BaseException) -> str:
    """`file:line` of the plug-in where it went wrong."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

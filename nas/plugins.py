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
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.abc import SourceLoader
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .errors import UserError, hint, words_of

GROUP = "nas.operators"


@dataclass(frozen=True)
class Plugin:
    """A plug-in file as it travels to workers: `path` is what tracebacks there call it."""

    path: Path
    content: bytes

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def module(self) -> str:
        return f"nas_plugin_{self.path.stem}_{self.digest[:8]}"


_loaded: dict[str, Plugin] = {}  # by the sha256 of their text: a copy in a run folder is the same

# Answers the `Question`s of models/measured.py in the place of this process; None: this one does.
# A search puts a process of its own here (search/measuring.py): a plug-in may crash or hang.
elsewhere: Callable[[Any], Any] | None = None


def loaded() -> list[Plugin]:
    """The plug-in files that this process has imported."""
    return list(_loaded.values())


@cache
def installed() -> bool:
    """Whether any package brings operators."""
    return bool(entry_points(group=GROUP))


def is_ctrl_c(error: BaseException) -> bool:
    """Whether it is the user's: Python gives it to the main thread. Any other is a plug-in's."""
    main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and main


def load_plugins(plugins: Iterable[str | Path | Plugin]) -> None:
    """Import plug-in files, each text once a process. Raises UserError for one that fails."""
    for plugin in plugins:
        load_plugin(plugin if isinstance(plugin, Plugin) else read_plugin(Path(plugin)))


def read_plugin(path: Path) -> Plugin:
    """Raises UserError where there is no such Python file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        beside = [str(other) for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UserError(
            f"the plug-in {path} cannot be read ({error.strerror})"
            f"{hint(str(path), beside) if beside else ''}"
        ) from None
    if path.suffix != ".py":
        raise UserError(f"the plug-in {path} is no Python file: it must end in .py")
    return Plugin(path, content)


def load_plugin(plugin: Plugin) -> None:
    """Import one plug-in. Raises UserError where its code fails."""
    if plugin.digest in _loaded:
        return
    name = plugin.module
    spec = importlib.util.spec_from_loader(name, _Loader(plugin))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # torch pickles, and type hints are looked up, by it
    try:
        _Loader(plugin).exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if is_ctrl_c(error):
            raise
        where = _place(plugin.path, error)
        raise UserError(f"{where}: the plug-in fails with {words_of(error)}") from error
    _loaded[plugin.digest] = plugin


class _Loader(SourceLoader):
    """Imports a plug-in from its text. Nothing is written: neither the file on another node nor
    bytecode beside it. Tracebacks find their lines by `get_source` where the file is not there.
    """

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def get_filename(self, fullname: str) -> str:
        return str(self._plugin.path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._plugin.content


def load_installed() -> None:
    """Import what installed packages bring. Raises UserError with the package that fails."""
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            package = entry.dist.name if entry.dist is not None else "a package"
            raise UserError(
                f"{package} brings the operators {entry.value!r}, which fail with "
                f"{words_of(error)}; mend or uninstall it"
            ) from error


def _place(path: Path, error: BaseException) -> str:
    """`file:line` of the plug-in where it went wrong."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)

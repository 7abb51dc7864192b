"""The search: prepare a request, create its run folder, search in it, and resume."""

from __future__ import annotations

from .request import Prepared, prepare, reopen
from .run import create, search

__all__ = ["Prepared", "create", "prepare", "reopen", "search"]

"""Search spaces: architecture files with holes. No torch, no optuna."""

from .counting import count
from .document import Value
from .files import faults_of, find, load, require_architecture, shipped
from .filling import draw, fill, neighbours
from .holes import Hole
from .matching import match
from .space import Architecture, Decisions, Space, parse

__all__ = [
    "Architecture",
    "Decisions",
    "Hole",
    "Space",
    "Value",
    "count",
    "draw",
    "faults_of",
    "fill",
    "find",
    "load",
    "match",
    "neighbours",
    "parse",
    "require_architecture",
    "shipped",
]

"""Strategies: who proposes the next trial. One file each, one registered line.

A strategy is a function `(seed) -> optuna sampler`. The driver makes a new one at every start
and resume, with a seed derived from (the search's seed, the trials so far).
"""

from __future__ import annotations

from collections.abc import Callable

from optuna.samplers import BaseSampler

from ...registry import Registry
from .random import random
from .tpe import tpe

STRATEGIES: Registry[Callable[[int], BaseSampler]] = Registry("strategy")
STRATEGIES.add("tpe", tpe)
STRATEGIES.add("random", random)

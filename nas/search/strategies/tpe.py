"""Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, conditional groups."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler


def tpe(seed: int) -> BaseSampler:
    """Optuna's TPE over joint groups of holes; trials that run count as bad (constant liar)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)

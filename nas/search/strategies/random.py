"""Independent uniform draws (log-uniform over `!log`): the baseline that is hard to beat."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler


def random(seed: int) -> BaseSampler:
    """Optuna's random sampler."""
    return RandomSampler(seed=seed)

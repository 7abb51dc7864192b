"""Independent uniform draws (log-uniform over `!log`): the baseline that is hard to beat."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler


def random(seed: int) -> BaseSampler:
    """Optuna's random sampler.

    With one worker or several, the suggestions of a stage are the same: the n-th draw depends on
    nothing but the seed.
    """
    return RandomSampler(seed=seed)

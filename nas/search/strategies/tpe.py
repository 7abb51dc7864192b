"""Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, conditional groups."""

from __future__ import annotations

import warnings
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from .excerpt import Excerpt


def tpe(seed: int) -> BaseSampler:
    """Optuna's TPE over joint groups of holes; trials that run count as bad (constant liar).

    Fitted on an excerpt of at most 250 ended trials (`excerpt.py` says which) and all that run.

    With one worker or several of equal speed the suggestions are the same only while they are
    plain draws, until ten trials have ended: from then on each depends on what had ended, and on
    what ran, when it was made.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _ExcerptTPE(multivariate=True, group=True, constant_liar=True, seed=seed)


class _ExcerptTPE(TPESampler):
    """TPE that sees an excerpt of its study, one and the same for all holes of a trial."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._excerpt = Excerpt()
        self._view: Study | None = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._view = None
        super().before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        seen = self._seen(study)
        return super().sample_independent(seen, trial, param_name, param_distribution)

    def _seen(self, study: Study) -> Study:
        if self._view is None:
            self._view = self._excerpt.of(study)
        return self._view

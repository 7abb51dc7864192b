"""An excerpt of a study: what a sampler is fitted on, so that its cost does not grow with it.

TPE's fit is linear in the trials (16 ms at 1,000 and 157 ms at 10,000, measured). An excerpt holds
at most MOST ended trials, and every running one:

- the BEST by TPE's own order. Its good model is made of the best tenth, at most 25, so that this
  half of the fit is the same as on the whole study;
- the NEWEST, which its bad model weighs most;
- of those in between as many as fit, evenly spread over the study: where the search has been.

Up to MOST ended trials the excerpt is the study.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Container

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

BEST = 25  # TPE's default gamma never takes more
NEWEST = 100
MOST = 250  # 25 is the tenth of it
FITTED = (TrialState.COMPLETE, TrialState.PRUNED)


class Excerpt:
    """The excerpt of one study; looks at every trial once, when it has ended."""

    def __init__(self) -> None:
        self._seen = 0
        self._open: list[int] = []  # numbers of trials that had not ended
        self._ended: list[FrozenTrial] = []  # by number
        self._best: list[tuple[tuple[float, ...], int]] = []

    def of(self, study: Study) -> Study:
        """The study as the sampler is to see it."""
        trials = study.get_trials(deepcopy=False)
        looked = [*self._open, *range(self._seen, len(trials))]
        self._open, self._seen = [], len(trials)
        for number in looked:
            trial = trials[number]
            if trial.state in FITTED:
                self._add(trial)
            elif trial.state in (TrialState.RUNNING, TrialState.WAITING):
                self._open.append(number)
        return _View(study, [*self._chosen(), *(trials[number] for number in self._open)])

    def _add(self, trial: FrozenTrial) -> None:
        bisect.insort(self._ended, trial, key=lambda other: other.number)
        bisect.insort(self._best, (_rank(trial), trial.number))
        del self._best[BEST:]

    def _chosen(self) -> list[FrozenTrial]:
        if len(self._ended) <= MOST:
            return self._ended
        best = {number for _, number in self._best}
        older, newest = self._ended[:-NEWEST], self._ended[-NEWEST:]
        kept = [trial for trial in older if trial.number in best]
        others = [trial for trial in older if trial.number not in best]
        wanted = MOST - NEWEST - len(kept)
        kept += [others[place * len(others) // wanted] for place in range(wanted)]
        return [*sorted(kept, key=lambda trial: trial.number), *newest]


class _View(Study):
    """A study that shows these trials alone, to samplers that look at it through `get_trials`."""

    def __init__(self, study: Study, trials: list[FrozenTrial]) -> None:
        self.__dict__.update(study.__dict__)
        self._shown = trials

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def _rank(trial: FrozenTrial) -> tuple[float, ...]:
    """TPE's order, the best first: by value; the pruned by how far they came, then by value; the
    infeasible by how far they are from feasible. For a direction of `maximize`.
    """
    violation = sum(value for value in trial.constraints.values() if value > 0)
    if violation > 0:
        return (2, violation, 0.0)
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return (0, -trial.value, 0.0)
    if not trial.intermediate_values:
        return (1, 1.0, 0.0)
    step, value = max(trial.intermediate_values.items())
    return (1, -step, -value if math.isfinite(value) else math.inf)

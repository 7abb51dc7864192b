"""What a search has spent, what it may still spend, and what it keeps for the final training.

Device-seconds are the time a trial holds its slot, as the driver's monotonic clock sees it,
times the devices it holds: failed, pruned and retried trials pay like the others. Without a GPU
a device is a trial slot of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..units import Budget

RESERVE_SHARE = 1 / 3  # of each bound, the most that full final trainings may keep back
RESERVE_LEAST = 1 / 2  # of each bound, the most that even the smallest final training may
CLOSING_SECONDS = 2.0  # of wall clock, kept for ending the workers (Ray takes 1.4 s)
CLOSING_SHARE = 0.2  # of what the start took: on a busy machine the end is as slow
OVERHEAD_SECONDS = 0.5  # that a training holds its slot beside its epochs, on a quiet machine
MOST_OVERHEAD = 15.0
SAFETY = 1.3  # the reserve, over the forecast of the finals: dearer ones, the reports under way
MARGIN = 1.15  # what is left, over the forecast, for a final training to begin: it may be slower


@dataclass(frozen=True)
class FinalCost:
    """One final training, forecast: seconds on its slot, and epochs."""

    seconds: float
    epochs: int


class Ledger:
    """Counts against a Budget. `clock` is monotonic seconds; `wall_before` earlier sessions'.

    starting_seconds  of wall clock, spent before a session's first trial began
    waiting_seconds   of trials' slots, spent waiting for space on a full disk, or for a lost
                      database: no device time
    """

    def __init__(
        self,
        budget: Budget,
        *,
        slots: int,
        devices_per_trial: float,
        clock: Callable[[], float],
        started: float | None = None,
        wall_before: float = 0.0,
        starting_before: float = 0.0,
    ) -> None:
        self.budget = budget
        self._wall_bound = self._bound(CLOSING_SECONDS)
        self.slots = slots
        self.rooms = [slots]  # trials at once, in the order of their changes
        self.devices_per_trial = devices_per_trial
        self._clock = clock
        self._started = (clock() if started is None else started) - wall_before
        self.device_seconds = 0.0
        self.trials = 0
        self.epochs = 0
        self.epochs_under_way = 0  # of the trials that run on: counted at their ends
        self._overhead = 0.0  # of a training, beyond OVERHEAD_SECONDS
        self._to_come = 0.0, 0.0  # wall and device seconds to the next words of those that run
        self._session = wall_before
        self.starting_seconds = self._starting_before = starting_before
        self.waiting_seconds = 0.0
        self.advised = False  # the smallest useful budget was named
        self._begun = False
        self._reserve: tuple[FinalCost, ...] | None = None

    @property
    def wall_seconds(self) -> float:
        """Seconds since the program's start, earlier sessions of the run included."""
        return self._clock() - self._started

    @property
    def wall_left(self) -> float:
        """Seconds of wall clock that are left; infinite where the budget does not bound them."""
        return float("inf") if self._wall_bound is None else self._wall_bound - self.wall_seconds

    @property
    def timed(self) -> bool:
        """Whether anything but the number of trials bounds the search."""
        bounds = (self.budget.wall_seconds, self.budget.device_seconds, self.budget.epochs)
        return any(bound is not None for bound in bounds)

    def charge(self, seconds: float, *, waiting: bool = False) -> float:
        """Book seconds on one slot, those of `waiting` apart; returns what they cost."""
        if waiting:
            self.waiting_seconds += max(0.0, seconds)
            return 0.0
        cost = max(0.0, seconds) * self.devices_per_trial
        self.device_seconds += cost
        return cost

    def resize(self, room: int) -> None:
        """Only so many trials run at once now: nodes are gone, or have come."""
        self.slots = max(1, room)
        if room != self.rooms[-1]:
            self.rooms.append(room)

    def reserve(self, finals: Sequence[FinalCost]) -> None:
        """Keep the cost of these final trainings back from the search."""
        self._reserve = tuple(finals)

    @property
    def reserved_device_seconds(self) -> float:
        """Device-seconds kept back for the final training, as forecast last."""
        wanted = self._reserved()[1]
        return wanted if wanted is not None else 0.0

    def search_share(self) -> float:
        """How much of the search's part of the budget is spent: 0 to 1 and beyond.

        The bound that is nearest to its end decides.
        """
        wall, device, epochs = self._reserved()
        pairs = (
            (self._searching(self.wall_seconds), self._searching(self._wall_bound), wall),
            (self.device_seconds, self.budget.device_seconds, device),
            (float(self.epochs), self.budget.epochs, epochs),
            (float(self.trials), self.budget.trials, 0.0),
        )
        return max(
            (
                (used or 0.0) / max(bound - (kept or 0.0), 1e-9)
                for used, bound, kept in pairs
                if bound
            ),
            default=0.0,
        )

    def _searching(self, seconds: float | None) -> float | None:
        """Wall seconds without the starts of the sessions, which are nobody's."""
        return None if seconds is None else seconds - self.starting_seconds

    def share(self) -> float:
        """How much of the whole budget is spent: 0 to 1 and beyond."""
        budget = self.budget
        pairs = (
            (self.wall_seconds, budget.wall_seconds),
            (self.device_seconds, budget.device_seconds),
            (float(self.epochs), budget.epochs),
            (float(self.trials), budget.trials),
        )
        return max((used / bound for used, bound in pairs if bound), default=0.0)

    @property
    def reserved_wall_seconds(self) -> float:
        """Wall seconds that the final training takes, as forecast last."""
        return self._cost(self._reserve)[0] if self._reserve else 0.0

    def seconds_left(self, final_seconds: float) -> float | None:
        """Wall seconds to the end, estimated; None before there is a pace to go by.

        `final_seconds`: wall time of the final training, for budgets that do not bound time.
        """
        budget, estimates = self.budget, []
        if self._wall_bound is not None:
            estimates.append(self._wall_bound - self.wall_seconds)
        if budget.device_seconds is not None:
            pace = self.slots * self.devices_per_trial
            estimates.append((budget.device_seconds - self.device_seconds) / pace)
        worked = self.device_seconds / self.devices_per_trial / self.slots
        halves = self.epochs_under_way / 2  # of trials: those that run are half done on average
        for used, bound in ((self.trials - halves, budget.trials), (self.epochs, budget.epochs)):
            if bound is not None and used > 0 and worked > 0:
                left = max(0.0, (bound - used) * worked / used)
                estimates.append(left + (final_seconds if bound == budget.trials else 0.0))
        return max(0.0, min(estimates)) if estimates else None

    def search_slot_seconds(self) -> float | None:
        """Seconds that the slots together still have for the search; None without a bound."""
        wall, device, _ = self._reserved()
        left = []
        if self._wall_bound is not None:
            left.append((self._wall_bound - (wall or 0.0) - self.wall_seconds) * self.slots)
        if self.budget.device_seconds is not None:
            kept = self.budget.device_seconds - (device or 0.0)
            left.append((kept - self.device_seconds) / self.devices_per_trial)
        return max(0.0, min(left)) if left else None

    def search_epochs(self, epoch_seconds: float) -> float | None:
        """Epochs of that length which the search still holds; None without a bound on them."""
        seconds, epochs = self.search_slot_seconds(), self._reserved()[2]
        held = [] if seconds is None else [seconds / max(epoch_seconds, 1e-9)]
        if self.budget.epochs is not None:
            held.append(max(0.0, self.budget.epochs - (epochs or 0.0) - self.epochs))
        return min(held, default=None)

    def search_parts(self) -> tuple[float, ...]:
        """What the search has of each bound that there is, before anything is spent."""
        wall, device, epochs = self._reserved()
        pairs = (
            (self._searching(self._wall_bound), wall),
            (self.budget.device_seconds, device),
            (self.budget.epochs, epochs),
            (self.budget.trials, 0.0),
        )
        return tuple(bound - (kept or 0.0) for bound, kept in pairs if bound is not None)

    def begin_search(self) -> bool:
        """The first trial of the session has its slot: the stages' shares count from here.

        Whether it is that first trial.
        """
        first, self._begun = not self._begun, True
        if first:
            took = self.wall_seconds - self._session
            self.starting_seconds += took
            self._wall_bound = self._bound(max(CLOSING_SECONDS, CLOSING_SHARE * took))
        return first

    def _bound(self, closing: float) -> float | None:
        wall = self.budget.wall_seconds
        return None if wall is None else max(wall - closing, wall / 2)

    def take_up(self, device_seconds: float, epochs: int, wall_seconds: float) -> None:
        """Count a trial of an earlier session; `wall_seconds`: the run's, when it was booked.

        A killed session may have booked a later time with a trial than with the run.
        """
        self.device_seconds += device_seconds
        self.epochs += epochs
        later = max(0.0, wall_seconds - self._session)
        self._session += later
        self._started -= later

    def under_way(self, epochs: int, intervals: Sequence[float]) -> None:
        """What running trials have begun: epochs, and the seconds to each one's next word.

        A trial is stopped when it says something, not before: what all of them take until then
        is not the final training's, and with hundreds of devices it could be as much.
        """
        self.epochs_under_way = epochs
        self._to_come = max(intervals, default=0.0), sum(intervals) * self.devices_per_trial

    def measure_overhead(self) -> None:
        """What a trial of the search holds its slot beside what it pays: its begin, its end, Ray.

        It is no device time, but it is wall clock, and on a busy machine as long as the training.
        """
        if self._begun and self.trials:
            held = self.slots * (self.wall_seconds - self.starting_seconds)
            paid = self.device_seconds / self.devices_per_trial + self.waiting_seconds
            overhead = (held - paid) / self.trials - OVERHEAD_SECONDS
            self._overhead = min(max(0.0, overhead), MOST_OVERHEAD)

    def search_over(self) -> bool:
        """Nothing is left for the search but what the final training needs."""
        return self.search_share() >= 1.0 or self.time_is_up_for_search()

    def time_is_up_for_search(self) -> bool:
        """Running trials have to stop too (a bound on trials lets them finish)."""
        if not self.timed:
            return False
        wall, device, epochs = self._reserved()
        next_wall, next_device = self._to_come
        return (
            _reached(self.wall_seconds + next_wall, self._wall_bound, wall)
            or _reached(self.device_seconds + next_device, self.budget.device_seconds, device)
            or self._epochs_given_out(epochs)
        )

    def spent(self) -> bool:
        """The whole budget is used up, the reserve included."""
        return (
            _reached(self.wall_seconds, self._wall_bound, 0.0)
            or _reached(self.device_seconds, self.budget.device_seconds, 0.0)
            or self._epochs_given_out(0.0)
        )

    def _epochs_given_out(self, kept: float | None) -> bool:
        """The epochs under way are the last ones, so that their bound is kept exactly."""
        return _reached(float(self.epochs + self.epochs_under_way), self.budget.epochs, kept)

    def fits(self, finals: Sequence[FinalCost], running: Sequence[FinalCost] = ()) -> bool:
        """Whether these trainings fit into what is left, beside what the `running` ones need."""
        return self.shrink(finals, running) >= 1.0

    def shrink(self, finals: Sequence[FinalCost], running: Sequence[FinalCost] = ()) -> float:
        """The factor by which the trainings had to be shortened to fit; 1 or more: they fit."""
        wall, device, epochs = self._cost(finals, running)
        budget = self.budget
        left = (
            (self._wall_bound, self.wall_seconds, wall * MARGIN),
            (budget.device_seconds, self.device_seconds, device * MARGIN),
            (budget.epochs, float(self.epochs), float(epochs)),
        )
        return min(
            ((bound - used) / max(need, 1e-9) for bound, used, need in left if bound),
            default=float("inf"),
        )

    def enough_for(self, finals: Sequence[FinalCost]) -> Budget:
        """The bounds that would hold these trainings too, beside all that is spent."""
        wall, device, epochs = self._cost(finals)
        return Budget(
            "",
            wall_seconds=self.wall_seconds + wall * MARGIN + CLOSING_SECONDS,
            device_seconds=self.device_seconds + device * MARGIN,
            epochs=self.epochs + epochs,
        )

    def worth(self, finals: Sequence[FinalCost], share: float) -> bool:
        """Whether they cost at most `share` of the whole budget (of what is spent, if untimed).

        Untimed, epochs are what counts: seconds would make two runs of one seed differ.
        """
        wall, device, epochs = self._cost(finals)
        if not self.timed:
            return epochs <= share * self.epochs
        budget = self.budget
        pairs = ((self._wall_bound, wall), (budget.device_seconds, device))
        timely = all(need * SAFETY <= share * bound for bound, need in pairs if bound)
        return timely and (budget.epochs is None or epochs <= share * budget.epochs)

    @property
    def start(self) -> float:
        """Wall seconds that this session took to its first trial's begin, or has taken by now."""
        if self._begun:
            return self.starting_seconds - self._starting_before
        return self.wall_seconds - self._session

    @property
    def spent_before(self) -> float:
        """Wall seconds of earlier sessions."""
        return self._session

    def beyond(self, least: Budget) -> Budget:
        """The bounds that hold `least` once more, beside all that is spent."""
        return Budget(
            "",
            wall_seconds=self._session + (least.wall_seconds or 0.0),
            device_seconds=self.device_seconds + (least.device_seconds or 0.0),
            trials=self.trials + (least.trials or 0),
            epochs=self.epochs + (least.epochs or 0),
        )

    def _reserved(self) -> tuple[float | None, float | None, float | None]:
        """Kept back of wall seconds, device-seconds and epochs; None where not bound."""
        budget = self.budget
        if self._reserve is None:
            bounds = (self._wall_bound, budget.device_seconds, budget.epochs)
            kept = [None if bound is None else bound * RESERVE_SHARE for bound in bounds]
            return kept[0], kept[1], kept[2]
        wall, device, epochs = self._cost(self._reserve)
        return (
            _held(wall * SAFETY, self._wall_bound),
            _held(device * SAFETY, budget.device_seconds) if budget.device_seconds else device,
            _held(float(epochs), budget.epochs),
        )

    def _cost(
        self, finals: Sequence[FinalCost], running: Sequence[FinalCost] = ()
    ) -> tuple[float, float, int]:
        """Wall seconds (longest first, after the running ones), device-seconds, epochs."""
        ends = [final.seconds for final in running] + [0.0] * max(0, self.slots - len(running))
        wall = 0.0
        for final in sorted(finals, key=lambda final: -final.seconds):
            slot = ends.index(min(ends))
            ends[slot] += final.seconds + self._overhead
            wall = max(wall, ends[slot])
        both = [*finals, *running]
        device = sum(final.seconds for final in both) * self.devices_per_trial
        return wall, device, sum(final.epochs for final in both)


def _held(wanted: float, bound: float | None) -> float | None:
    return None if bound is None else min(wanted, bound * RESERVE_LEAST)


def _reached(used: float, bound: float | None, kept: float | None) -> bool:
    return bound is not None and used >= bound - (kept or 0.0)

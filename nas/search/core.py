"""Who asks, who stops, who pays: the search without Ray and without a clock of its own.

A backend (Ray Tune, or the simulator of the tests) takes work from `next`, hands every report to
`on_report`, and tells of workers that died by `on_death`. All state that matters stands in the
studies, so that a new Core on the same storage goes on where a killed one stood.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import cut
from ..rundir import RunDir, Status
from ..space import Decisions
from . import faults, finals, minimum, snapshots
from .disk import Disk
from .ledger import FinalCost, Ledger
from .memory import Memory
from .proposals import Proposer
from .resumption import Earlier, ask_of
from .rungs import Ladders, Rungs
from .study import Studies, Trial
from .table import Table
from .work import Ask, Live, Signal, seed_of

GRACE_SECONDS = 12.0  # for running trials to report, once they are to stop


class Core:
    """One session of one search."""

    def __init__(
        self,
        *,
        run: RunDir,
        studies: Studies,
        proposer: Proposer,
        ledger: Ledger,
        table: Table,
        clock: Callable[[], float],
        seed: int,
        disk: Disk | None = None,
        faulty: faults.Faults | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.run, self.ledger, self.table = run, ledger, table
        self.disk = disk or Disk(run, clock=clock)
        self.disk.stopping = lambda: self.ending is not None or self.ledger.spent()
        self._studies, self._proposer, self._clock, self._seed = studies, proposer, clock, seed
        proposer.halted = self._look_for_stop
        self._live: dict[int, Live] = {}
        self._queue: deque[Live] = deque()
        self._ladders = Ladders()
        self.faults = faulty or faults.Faults()
        self._memory = memory or Memory(None)
        self._finals = finals.Finals(table, ledger)
        self._snapshots = snapshots.Writer(run, table)
        self.ending: str | None = None  # interrupted, error: running trials are suspended
        self._ended_at = 0.0  # when `ending` was said
        self.over = False  # `next` has said DONE
        self.notes: list[str] = []
        earlier = Earlier(
            run, studies, proposer, ledger, table, self._memory, self._ladders, self._finals
        )
        # why no more candidates are drawn: budget, done
        self.stopped: str | None = earlier.take_up()
        resumed = self.stopped is None and 0 in table.rows
        self._epochs_before = ledger.epochs if resumed else None
        self._queue.extend(earlier.open)
        self._remember()

    # --- the backend's side -------------------------------------------------------------

    def next(self) -> Ask | Signal:
        """Work for a free slot; WAIT while running trials may bring some; DONE at the end."""
        with self._studies.together():  # a trial begins when it stands on the disk
            work = self._next()
        self.over = work is Signal.DONE
        return work

    def _next(self) -> Ask | Signal:
        if self._look_for_stop() or self.disk.full:
            return Signal.WAIT if self._live else Signal.DONE
        if self._queue:
            return self._hold(self._queue.popleft())
        self._look_ahead(len(self._live))
        over = self.ledger.search_over if self.table.rows else self.ledger.spent  # trial 0 always
        if self.stopped is None and over():
            self._end_search("budget")
        if self.stopped is None:
            candidate = self._proposer.propose()
            if candidate is not None:
                return self._begin(*candidate.parts)
            if self._proposer.why_ended is None:
                return self._next()
            self._end_search("done", self._proposer.why_ended)
        return self._next_final()

    def on_start(self, number: int) -> None:
        """The trial got its slot just now: from here on it pays."""
        if self.ledger.begin_search():
            self._remember()
        if live := self._live.get(number):
            self._pay_from_now(live)
            now = self._clock()
            self.faults.came_up(now - live.heard)
            live.heard, live.started = now, True

    def on_report(self, number: int, report: Mapping[str, Any]) -> bool:
        """An epoch's figures, a pause within one, or a fault; True: the trial is to stop."""
        live = self._live.get(number)
        if live is None:
            return True
        with self._studies.together(lasting=False):  # that it goes on hangs on nothing
            self._hear(live, report)
        if stop := number not in self._live:
            self._studies.sync()
        return stop

    def _hear(self, live: Live, report: Mapping[str, Any]) -> None:
        number = live.ask.number
        self._charge(live)
        self.disk.told(number, report)
        live.waiting, live.heard = "full" in report, self._clock()
        self._look_ahead(len(self._live) + len(self._queue) - 1)
        self._look_for_stop()
        if report["kind"] == "failed":
            self._failed(live, str(report["cause"]), str(report["error"]))
        elif report["kind"] == "epoch" and (fault := faults.fault_of(report)):
            self._failed(live, "failed", fault)
        elif report["kind"] == "epoch":
            self._epoch(live, report)
        else:
            live.share = float(report["share"])
        if number in self._live:
            if self.ending:
                self._suspend(live)
            elif self._out_of_budget(live):
                self._end(live, "budget")
                if number == 0 and live.epoch == 0:
                    seconds, row = live.device_seconds, self.table.rows[0]
                    self._note(finals.too_small(self.ledger, row, seconds, live.share))
            else:
                self._book(live)
                if self.stopped is None and not self._queue:
                    self._proposer.prepare()

    def on_death(self, number: int, error: str, cause: str = "failed") -> None:
        """The worker died: again from the checkpoint, or ended by `cause` if it was too often."""
        live = self._live.get(number)
        if live is None:
            return
        with self._studies.together():
            self._charge(live)
            if not self.ending:  # else nothing is tried again: a resume goes on with it
                self.run.log(self.faults.died(live, error := cut(error)))
            if self.ending or self.faults.again(live):
                self._suspend(live)
            else:
                self._failed(live, cause, error)

    def suspend(self) -> None:
        """All running trials lost their slots at once, by no fault of theirs."""
        with self._studies.together():
            for live in list(self._live.values()):
                self._charge(live)
                self._suspend(live)

    def overdue(self) -> list[int]:
        """Trials whose workers have given no sign of life for too long."""
        return self.faults.overdue(self._live.values(), self._clock())

    def slow_start(self) -> str | None:
        """What to say of a trial that has waited long for its worker, once."""
        return self.faults.slow_start(self._live.values(), self._clock())

    def interrupt(self, why: str = "interrupted") -> None:
        """No new trials; running ones stop at their next report and stay resumable."""
        if self.ending is None:
            self._ended_at, self.ending = self._clock(), why  # in this order: others look on
            self.run.log(f"stopping: {why}")

    def hurry(self) -> None:
        """Leave running trials that do not come to a report although they are to stop."""
        if self.ending and self._live and self._clock() - self._ended_at > GRACE_SECONDS:
            self.run.log(f"not waited for: trials {sorted(self._live)}")
            self.suspend()
            self.over = True

    def give_up(self, why: str | None) -> None:
        """End here: the budget does not hold another start of the workers."""
        self._end_search("budget", why)

    @property
    def live(self) -> int:
        """Trials that hold a slot now."""
        return len(self._live)

    @property
    def stage(self) -> str:
        """The stage that new trials belong to."""
        return finals.STAGE if self._finals.planned else self._proposer.stage.name

    # --- beginning ----------------------------------------------------------------------

    def _begin(
        self, trial: Trial, stage: str, text: str, decisions: Decisions, plan: dict[str, Any]
    ) -> Ask:
        number = self.table.next_number()
        plan.setdefault("seed", seed_of(self._seed, number))
        if self.run.put_aside(number):
            self.run.log(f"trials/{number} is of a trial that the journal lost: put aside")
        self.table.begin(number, stage, decisions, plan, text)
        self._studies.begin(trial, number, plan)
        self._memory.begin(number, plan)
        if stage != finals.STAGE:
            self.ledger.trials += 1
            self._proposer.know(plan["digest"], plan["epochs"], number)
        return self._hold(Live(ask_of(self.run, number, stage, text, plan), trial))

    def _hold(self, live: Live) -> Ask:
        self._pay_from_now(live)
        live.heard, live.interval = self._clock(), 0.0
        live.started = live.waiting = False
        self._live[live.ask.number] = live
        return live.ask

    # --- reports ------------------------------------------------------------------------

    def _charge(self, live: Live) -> None:
        """Since its last report; nothing before its worker is up, nor while it waits for space.

        What the driver itself has waited for, and its trials with it, is booked apart too.
        """
        if live.started:
            worked = live.interval = self._working_seconds() - live.paid_until
            live.device_seconds += self.ledger.charge(worked, waiting=live.waiting)
            self.ledger.charge(self.disk.blocked - live.blocked, waiting=True)
        self._pay_from_now(live)

    def _look_ahead(self, epochs: int) -> None:
        """What is under way, for the ledger: `epochs`, and the time to everybody's next word."""
        intervals = [live.interval for live in self._live.values()]
        known = [seconds for seconds in intervals if seconds]  # others have said nothing yet
        usual = statistics.fmean(known) if known else 0.0
        self.ledger.under_way(epochs, [seconds or usual for seconds in intervals])
        if self.stopped is None:  # later slots are empty for want of work
            self.ledger.measure_overhead()

    def _pay_from_now(self, live: Live) -> None:
        live.paid_until, live.blocked = self._working_seconds(), self.disk.blocked

    def _working_seconds(self) -> float:
        """The clock, standing still while the driver itself waits for a disk or a database."""
        return self._clock() - self.disk.blocked

    def _book(self, live: Live) -> None:
        """With each report, what a running trial has cost: a crash forgets what came after it."""
        seconds, wall = self.table.rows[live.ask.number]["epoch_seconds"], self.ledger.wall_seconds
        self.table.spend(live.ask.number, live.device_seconds)
        self._studies.progress(live.trial, live.epoch, live.device_seconds, seconds, wall)

    def _epoch(self, live: Live, report: Mapping[str, Any]) -> None:
        ask, stop, broken = live.ask, report.get("stop"), faults.broken(report)
        live.peak_memory = report.get("peak_memory") or live.peak_memory
        if broken:
            self._end(live, broken[0], violation=("diverged", broken[1]))
            return
        epoch, value = int(report["epoch"]), float(report["validation"])
        if epoch > live.epoch:  # else: trained again after a lost checkpoint, known already
            self._new_epoch(live, epoch, value, report.get("seconds"))
        if stop == "stalled":
            live.value = float(report["best_smoothed"])
            self._end(live, "stalled")
        elif epoch >= ask.epochs:
            self._end(live, "finished")
        elif epoch == live.epoch and not self._passes(live, epoch, value):
            self._end(live, "pruned")

    def _new_epoch(self, live: Live, epoch: int, value: float, seconds: float | None) -> None:
        live.epoch, live.value = epoch, value
        self.ledger.epochs += 1
        self._studies.report(live.trial, epoch, live.ask.epochs, value)
        self.table.progress(live.ask.number, epoch, value, live.device_seconds, seconds)
        if live.ask.number == 0 and epoch <= 2:  # the first epoch is often slower than the others
            self._finals.reserve()
        if live.ask.number == 0 and epoch == 1:
            self._proposer.see_pace(self.table.rows[0]["epoch_seconds"])
            if few := minimum.few_trials(self.ledger, self.table.rows[0]):
                self._note(few)

    def _passes(self, live: Live, epoch: int, value: float) -> bool:
        """Whether successive halving lets the trial go on past this epoch."""
        ask = live.ask
        if ask.stage == finals.STAGE or epoch not in Rungs.at(ask.epochs):
            return True
        if epoch in live.rungs:
            return True
        live.rungs.add(epoch)
        # trial 0 is what the others are measured against: it runs to its end
        passes = self._ladders.of(ask.stage).passes(epoch, value) or ask.number == 0
        if passes:
            self._studies.sync()  # the value that it is promoted by
        return passes

    def _failed(self, live: Live, cause: str, error: str) -> None:
        self.run.log(f"trial {live.ask.number}: {cause}\n{(error := cut(error)).rstrip()}")
        violation = ("memory", 1.0) if cause == "out_of_memory" else None
        self._end(live, cause, violation=violation, error=faults.last_line(error))
        digest = self.table.rows[live.ask.number]["digest"]
        if cause == "failed" and self.faults.failed(digest, error) and not self.ending:
            self._note(faults.broken_code(error, self.run.log_file))
            self.interrupt("error")

    def _end(
        self,
        live: Live,
        cause: str,
        *,
        violation: tuple[str, float] | None = None,
        error: str | None = None,
    ) -> None:
        number = live.ask.number
        del self._live[number]
        if cause != "failed":
            self.faults.worked()
        self._memory.end(number, cause, live.epoch, live.peak_memory)
        self._studies.end(
            live.ask.stage, live.trial, cause, live.value, violation=violation,
            epoch=live.epoch, device_seconds=round(live.device_seconds, 3), error=error,
            epoch_seconds=self.table.rows[number]["epoch_seconds"], peak_memory=live.peak_memory,
        )  # fmt: skip
        self._studies.sync()  # before a checkpoint goes
        self.table.end(number, cause, live.value, live.device_seconds, error)
        self.run.settle(number)
        if cause in ("finished", "stalled") and not self._finals.planned:
            self._finals.reserve()
        if cause in finals.BROKEN and self.stopped is None and self.table.hopeless():
            self._end_search("done", "all trials so far broke down in their first epoch")
        self._remember(sparing=True)

    def _suspend(self, live: Live) -> None:
        """Leave the trial RUNNING in the study, its cost booked: it goes on later, or a resume."""
        del self._live[live.ask.number]
        self._queue.append(live)
        self._book(live)
        self._remember(sparing=True)

    def _out_of_budget(self, live: Live) -> bool:
        first = live.ask.number == 0 and live.epoch == 0  # without it there is nothing to show
        if live.ask.stage == finals.STAGE or first:
            return self.ledger.spent()
        return self.ledger.time_is_up_for_search()

    def _look_for_stop(self) -> bool:
        full = self.disk.verdict(self._live)
        if self.ending is None and (full or self.run.asked_to_stop()):
            if full:
                self._note(full)
            self.interrupt(Disk.CAUSE if full else "interrupted")
        return self.ending is not None

    # --- the end of the search, and the final training ----------------------------------

    def _end_search(self, why: str, note: str | None = None) -> None:
        self.stopped = why
        self._proposer.drop()
        if note:
            self._note(note)
        self.run.log(f"the search part ends: {why}")

    def _next_final(self) -> Ask | Signal:
        if not self._finals.planned:
            running = sum(live.ask.stage != finals.STAGE for live in self._live.values())
            if running:  # nobody waits for them who need not
                early = self._finals.early(running)
                if early is None:
                    return Signal.WAIT
                self._record_finals([], whole=False)
                return self._begin_final(early)
            self._plan_finals()
        self._look_ahead(len(self._live))
        job = None if self.ledger.spent() else self._finals.next(self._running_finals())
        if job is not None:
            return self._begin_final(job)
        return Signal.WAIT if self._live else Signal.DONE

    def _plan_finals(self) -> None:
        note = self._finals.plan()
        if note:
            self._note(note)
        jobs = self._finals.record()
        self._record_finals(jobs, whole=True)
        self.run.log(f"the final training begins: {len(jobs)} trainings")
        self._remember()

    def _record_finals(self, jobs: list[dict[str, Any]], *, whole: bool) -> None:
        """`whole`: all of the plan; else the search's last trials may still change it."""
        about = {"budget": self.ledger.budget.text, "stopped": self.stopped}
        self._studies.record_finals(finals.STAGE, {**about, "jobs": jobs, "whole": whole})

    def _running_finals(self) -> list[FinalCost]:
        rows = self.table.rows
        return [finals.remaining(rows[number], rows) for number in self._live]

    def _final_seconds(self) -> float:
        """Wall seconds that the final training still takes, as forecast."""
        if not self._finals.planned:
            return self.ledger.reserved_wall_seconds
        left = self._finals.seconds() + sum(cost.seconds for cost in self._running_finals())
        return left / self.ledger.slots

    def _begin_final(self, job: finals.Job) -> Ask:
        row, decisions = self.table.rows[job.candidate], self.table.decisions(job.candidate)
        plan = finals.plan_of(job, row, decisions, seed_of(self._seed, 1 << 20, job.seed_index))
        text = self.table.text(job.candidate)
        begun = self.table.begun_final(job)
        trial = self._studies.ask(finals.STAGE)
        ask = self._begin(trial, finals.STAGE, text, decisions, plan)
        if begun is not None and self.run.copy_checkpoint(begun["trial"], ask.number):
            self.ledger.epochs -= begun["epoch"]  # they are told again, and paid for already
            self.run.log(f"trial {ask.number} goes on where trial {begun['trial']} was cut off")
        return ask

    # --- what people and reports read ---------------------------------------------------

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.run.log(text)

    def _remember(self, *, sparing: bool = False) -> None:
        self._snapshots.write(self.state, sparing=sparing)

    def status(self) -> Status:
        """A look for the live view."""
        running = [(on.ask, on.epoch, on.value) for on in self._live.values() if on.started]
        seconds = self.ledger.seconds_left(self._final_seconds())
        return snapshots.status(self.stage, running, self.ledger, self.table, seconds)

    def state(self) -> dict[str, Any]:
        """What stages.json holds while the search runs."""
        stages, full = self._proposer.stages, self._proposer.default_epochs
        return snapshots.state(stages, full, self.ledger, self.table, self.notes)

    def _close(self) -> None:
        """The search has ended: so have the trials that got no slot again. One may have come to
        its last epoch, and only the word of its end was lost."""
        with self._studies.together():
            for live in self._queue:
                self._live[live.ask.number] = live
                self._end(live, "finished" if live.epoch >= live.ask.epochs else "budget")
            self._queue.clear()

    def _obituary(self) -> str:
        """What an error has ended was said with it: that is why nothing survived, too."""
        if self.ending is not None and self.notes:
            return f"nothing survived: {self.notes[-1]}"
        return self.table.obituary(self.faults.hindrance)

    def finish(self) -> dict[str, Any]:
        """Write the last state of this session, with its finalists, and return it."""
        if self.ending is None:
            self._close()
            if self.stopped == "budget" and self.ledger.epochs == self._epochs_before:
                self._note(minimum.nothing_more(self.ledger, self.table.rows[0]))
        state = self.state()
        state["stopped"] = self.ending or self.stopped
        state["ended"] = self.ending is None  # a resume has nothing left to do
        state["finalists"] = self.table.finalists()
        cut = [] if self.ending else self._finals.shortfall()
        state["notes"] += [*cut, *self.faults.notes(), *self._proposer.refusals()]
        if not state["finalists"] and self.ending not in ("interrupted", Disk.CAUSE):
            said = self._obituary()
            state["notes"] = [*(note for note in state["notes"] if note not in said), said]
        self.table.save(force=True)
        self.run.write_stages(state)
        return state

"""What a training says after each epoch. No torch in here: searches and reports read it."""

from __future__ import annotations

from dataclasses import dataclass

# why a training ended before its last epoch, in `EpochReport.stop`
EXPLODED, NAN, STALLED = "exploded", "nan", "stalled"
BROKEN = (EXPLODED, NAN)


@dataclass(frozen=True)
class EpochReport:
    """One epoch, or the part of one that the guard let run.

    epoch            from 1
    train_loss       mean over the epoch's images, label smoothing included
    validation_loss  mean cross-entropy; NaN where the epoch broke off
    validation       accuracy in [0, 1]; NaN where the epoch broke off
    smoothed         exponential mean of `validation`; of the epochs before where this one broke off
    best_smoothed    the highest `smoothed` so far; both NaN where no epoch was finished
    lr               of the last step
    steps            optimizer steps since the start of the training
    seconds          spent on this epoch, validation included, the caller's own time left out
    ratio            smoothed training loss / loss under the initial weights; None before a step
    stop             None, or why this is the last report: "exploded", "nan", "stalled"
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation: float
    smoothed: float
    best_smoothed: float
    lr: float
    steps: int
    seconds: float
    ratio: float | None
    stop: str | None = None

    @property
    def broken(self) -> bool:
        """The guard broke this epoch off: it counts for nothing."""
        return self.stop in BROKEN

"""The training loop: one network, one recipe, an epoch at a time.

Nothing in a step waits for the device: data lie there and are cut by index, the learning rate is
a number of the host, and the losses come back behind the steps (`losses.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import DataError, UserError
from .batches import Array, Batches, cuts
from .checkpoint import check_same_training, snapshot
from .epoch import NAN, STALLED, EpochReport
from .evaluation import BATCH_SIZE, Evaluation, measure
from .guard import INITIAL_BATCHES, Guard
from .losses import make_reader
from .optimizers import make_optimizer
from .recipe import Recipe
from .schedules import Schedule
from .split import Split
from .stopping import EarlyStopper
from .turns import Turn, derived_seed, take_turns

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Trainer:
    """Trains `model` on images x (N, C, H, W), uint8 or float, with labels y (N,).

    model           forward (N, C, H, W) -> logits (N, classes); moved to `device`. Modules within
                    it that have `side_logits` keep (N, classes) there in training (None
                    otherwise): `weight` times their cross-entropy is added to the loss
    train           (x, y), drawn anew in every epoch; validation: (x, y), measured after each
    mean, std       of each channel, uint8 images scaled to [0, 1] before
    epochs          length of this training, over which the schedule anneals; None: the recipe's
    others          devices that compute a part of each batch, beside `device`
    seed            of data order, augmentation and dropout (the weights are the caller's)
    augment         called with a normalised batch and a generator on `device`; None: nothing
    early_stopping  whether the recipe's `patience` may end the training

    Same model, data, recipe, seed and threads on a CPU: the same curve and weights, bit by bit,
    also over a checkpoint. Raises DataError where images, labels, mean and std do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        train: tuple[Array, Array],
        validation: tuple[Array, Array],
        recipe: Recipe,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        epochs: int | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        others: Sequence[str | torch.device] = (),
        augment: Augment | None = None,
        early_stopping: bool = True,
    ) -> None:
        self.recipe, self.seed, self.device = recipe, seed, torch.device(device)
        self.epochs = recipe.epochs if epochs is None else epochs
        if self.epochs < 1:
            raise UserError(f"a training of {self.epochs} epochs: it must be at least 1")
        self._data = Batches(*train, mean=mean, std=std, device=self.device)
        self._validation = Batches(*validation, mean=mean, std=std, device=self.device)
        if len(self._data) < 2:
            raise DataError("a training part of one image: batch norm needs at least 2")
        self.model = model.to(self.device)
        if self.device.type == "cuda":
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._others = [torch.device(other) for other in others]
        self._forward = Split(self.model, self._others) if others else self.model
        self.history: list[EpochReport] = []
        self.steps = 0
        self.stop: str | None = None
        self._cuts = cuts(len(self._data), recipe.batch_size)
        self._optimizer = make_optimizer(self.model, recipe)
        self._schedule = Schedule(recipe, self.epochs * len(self._cuts))
        self._side_heads: list[Any] = [m for m in self.model.modules() if hasattr(m, "side_logits")]
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        self._guard: Guard | None = None
        self._stopper = EarlyStopper(recipe.patience if early_stopping else 0, recipe.smoothing)
        self._augment, self._draws = augment, torch.Generator(device=self.device)
        self._within_epoch = False

    def run(self, *, pause_every: float | None = None) -> Iterator[EpochReport | None]:
        """The epochs that are left, a report for each; None every `pause_every` seconds between.

        A pause lets the caller look at its deadline; dropping the iterator there abandons the
        epoch, and only an earlier `state()` can be resumed. The last report of a training that
        broke down or stalled says so in `stop`.
        """
        turn = Turn([self.device, *self._others], pause_every)
        return take_turns(self._train(turn), turn)

    @property
    def share_of_epoch(self) -> float:
        """How much of the running epoch's steps are done: 0 between epochs, at most 1."""
        return self.steps / len(self._cuts) - len(self.history) if self._within_epoch else 0.0

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs: tensors on the CPU and plain values, a copy.

        Taken between epochs; raises RuntimeError in the middle of one.
        """
        self._check_between_epochs()
        return {
            "training": self._identity(),
            "model": snapshot(self.model.state_dict()),
            "optimizer": snapshot(self._optimizer.state_dict()),
            "guard": None if self._guard is None else self._guard.state(),
            "stopper": self._stopper.state(),
            "history": [asdict(report) for report in self.history],
            "steps": self.steps,
            "stop": self.stop,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state()` of a trainer made the same way.

        Raises UserError where that one had another recipe, length, seed, data size or network.
        """
        check_same_training(state["training"], self._identity())
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"the checkpoint is of another network: {reason}") from error
        self._optimizer.load_state_dict(state["optimizer"])
        self._guard = None if state["guard"] is None else Guard.from_state(state["guard"])
        self._stopper.load_state(state["stopper"])
        self.history = [EpochReport(**report) for report in state["history"]]
        self.steps, self.stop = state["steps"], state["stop"]
        self._within_epoch = False

    def _identity(self) -> dict[str, Any]:
        own = {"epochs": self.epochs, "seed": self.seed, "training images": len(self._data)}
        return own | {f"recipe.{key}": value for key, value in asdict(self.recipe).items()}

    def _check_between_epochs(self) -> None:
        if self._within_epoch:
            raise RuntimeError("the trainer is in the middle of an epoch: load_state() first")

    def _train(self, turn: Turn) -> Generator[EpochReport | None, None, None]:
        while self.stop is None and len(self.history) < self.epochs:
            self._check_between_epochs()
            self._within_epoch = True
            report = yield from self._epoch(turn)
            self.stop = report.stop
            if not report.broken:
                self.history.append(report)
            self._within_epoch = False
            yield report

    def _epoch(self, turn: Turn) -> Generator[None, None, EpochReport]:
        began, epoch = turn.seconds(), len(self.history) + 1
        if self._guard is None:
            self._guard = Guard(self._initial_loss(turn))
        losses: list[float] = []
        stop = yield from self._steps(turn, epoch, self._guard, losses)
        loss = accuracy = math.nan
        if stop is None:
            evaluation = yield from self._validate(turn)
            loss, accuracy = evaluation.loss, evaluation.accuracy
            if not math.isfinite(loss):
                loss = accuracy = math.nan
                stop = NAN
            elif self._stopper.see(accuracy) and epoch < self.epochs:
                stop = STALLED
        return EpochReport(
            epoch=epoch,
            train_loss=self._mean_loss(losses),
            validation_loss=loss,
            validation=accuracy,
            smoothed=self._stopper.smoothed,
            best_smoothed=self._stopper.best,
            lr=self._schedule.lr(max(self.steps - 1, 0)),
            steps=self.steps,
            seconds=turn.seconds() - began,
            ratio=self._guard.ratio,
            stop=stop,
        )

    def _steps(
        self, turn: Turn, epoch: int, guard: Guard, losses: list[float]
    ) -> Generator[None, None, str | None]:
        """The steps of an epoch; fills `losses`, returns the guard's verdict."""
        verdict = guard.verdict()
        if verdict:
            return verdict
        rows, reader = self._begin(epoch, turn), make_reader(self.device)
        self.model.train()
        for start, stop in self._cuts:
            for loss in reader.push(self._step(rows[start:stop])):
                losses.append(loss)
                verdict = verdict or guard.see(loss)
            if verdict:
                return verdict
            if turn.over():
                yield
        for loss in reader.drain():
            losses.append(loss)
            verdict = verdict or guard.see(loss)
        return verdict

    def _begin(self, epoch: int, turn: Turn) -> Tensor:
        """Seed the epoch's random streams; its order of the images (N,)."""
        order = torch.Generator().manual_seed(derived_seed(self.seed, epoch, "order"))
        self._draws.manual_seed(derived_seed(self.seed, epoch, "augment"))
        turn.seed(derived_seed(self.seed, epoch, "dropout"))
        return torch.randperm(len(self._data), generator=order).to(self.device)

    def _step(self, rows: Tensor) -> Tensor:
        lr = self._schedule.lr(self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        loss = self._loss(rows)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        if self.recipe.clip_norm > 0:
            nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip_norm)
        self._optimizer.step()
        self.steps += 1
        return loss.detach()

    def _loss(self, rows: Tensor) -> Tensor:
        images, labels = self._data.take(rows)
        if self._augment is not None:
            images = self._augment(images, self._draws).contiguous(memory_format=self._data.layout)
        smoothing = self.recipe.label_smoothing
        loss = functional.cross_entropy(self._forward(images), labels, label_smoothing=smoothing)
        for head in self._side_heads:
            logits, head.side_logits = head.side_logits, None  # not kept until the next step
            side = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
            loss = loss + head.weight * side
        return loss

    @torch.no_grad()
    def _initial_loss(self, turn: Turn) -> float:
        """Mean loss of the first batches under the initial weights; leaves no trace.

        Batches after a step tell nothing: at a learning rate of 10 the second reads 40x.
        """
        kept = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        rows = self._begin(1, turn)  # the epoch itself seeds its streams again
        self.model.train()
        losses = [self._loss(rows[start:stop]) for start, stop in self._cuts[:INITIAL_BATCHES]]
        for buffer, value in kept:
            buffer.copy_(value)
        return torch.stack(losses).mean().item()

    def _validate(self, turn: Turn) -> Generator[None, None, Evaluation]:
        measuring = measure(self._forward, self._validation, BATCH_SIZE)
        while True:
            try:
                next(measuring)
            except StopIteration as end:
                evaluation: Evaluation = end.value
                return evaluation
            if turn.over():
                yield

    def _mean_loss(self, losses: list[float]) -> float:
        sizes = [stop - start for start, stop in self._cuts[: len(losses)]]
        total = sum(loss * size for loss, size in zip(losses, sizes, strict=True))
        return total / sum(sizes) if sizes else math.nan

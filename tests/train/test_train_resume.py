"""A training resumed from a checkpoint is the uninterrupted one, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import UserError
from nas.train.epoch import EpochReport
from nas.train.loop import Trainer

Make = Callable[..., Trainer]
Network = Callable[..., nn.Sequential]


def flip_and_shift(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(N, C, H, W) -> the same: mirrored and rolled at random, image by image."""
    flips = torch.rand(len(batch), generator=generator) < 0.5
    batch = torch.where(flips[:, None, None, None], batch.flip(3), batch)
    shift = int(torch.randint(-1, 2, (1,), generator=generator))
    return batch.roll(shift, dims=2)


class Bomb(nn.Module):
    """Multiplies the logits by 1000 from the 51st training batch on: in the third epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += 1
        return logits * torch.where(self.seen > 50, 1000.0, 1.0)


def through_a_file(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    torch.save(state, folder / "checkpoint.pt")
    loaded: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)
    return loaded


def timeless(curve: list[EpochReport]) -> list[str]:
    """repr, since NaN is not equal to itself."""
    return [repr(replace(report, seconds=0.0)) for report in curve]


CASES = {
    "sgd": {},
    "plain sgd": {"momentum": 0.0, "schedule": "step"},
    "adamw": {"optimizer": "adamw", "lr": 0.01},
    "warm-up, clipped, smoothed": {"warmup_epochs": 10, "clip_norm": 1.0, "label_smoothing": 0.1},
    "stalls": {"patience": 2, "smoothing": 0.6, "lr": 1e-6},
    "explodes": {},
}


@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize("name", list(CASES))
def test_resumed_at_any_epoch_it_is_bit_identical(
    make_trainer: Make, network: Network, tmp_path: Path, name: str, augmented: bool
) -> None:
    def make(weights_seed: int) -> Trainer:
        model = network(dropout=0.3, seed=weights_seed)
        if name == "explodes":
            model.append(Bomb())
        return make_trainer(
            model.eval(),  # whatever its mode was: it is trained in training mode
            {"batch_size": 64, **CASES[name]},
            epochs=5,
            seed=3,
            augment=flip_and_shift if augmented else None,
        )

    straight = make(0)
    states = [straight.state()]
    curve: list[EpochReport] = []
    for report in straight.run():
        assert report is not None
        curve.append(report)
        states.append(straight.state())
    if name == "stalls":
        assert curve[-1].stop == "stalled"
    if name == "explodes":
        assert (curve[-1].stop, curve[-1].epoch) == ("exploded", 3)
    for done, state in enumerate(states[:-1]):
        resumed = make(99)  # the weights come from the checkpoint, not from here
        resumed.load_state(through_a_file(state, tmp_path))
        torch.manual_seed(done)
        rest = [report for report in resumed.run() if report is not None]
        assert timeless(curve[:done] + rest) == timeless(curve)
        finished = curve[:-1] if curve[-1].broken else curve
        assert timeless(resumed.history) == timeless(finished)
        for key, value in straight.model.state_dict().items():
            torch.testing.assert_close(
                resumed.model.state_dict()[key], value, rtol=0, atol=0, equal_nan=True
            )


def test_an_ended_training_stays_ended(make_trainer: Make, tmp_path: Path) -> None:
    for recipe, epochs in (({"lr": 1e4}, 3), ({"lr": 0.1}, 1), ({"lr": 1e-6, "patience": 1}, 9)):
        trainer = make_trainer(recipe=recipe, epochs=epochs)
        assert list(trainer.run())
        resumed = make_trainer(recipe=recipe, epochs=epochs)
        resumed.load_state(through_a_file(trainer.state(), tmp_path))
        assert list(resumed.run()) == []
        assert resumed.stop == trainer.stop


def test_a_state_is_a_copy(make_trainer: Make) -> None:
    trainer = make_trainer(epochs=2)
    running = iter(trainer.run())
    next(running)
    state = trainer.state()
    before = {key: value.clone() for key, value in state["model"].items()}
    next(running)
    assert len(state["history"]) == 1
    for key, value in state["model"].items():
        assert torch.equal(value, before[key])


def test_other_seeds_and_epochs_draw_other_orders(make_trainer: Make) -> None:
    losses = set()
    for seed in (0, 1):
        for report in make_trainer(seed=seed, epochs=2, recipe={"lr": 1e-6}).run():
            assert report is not None
            losses.add(report.train_loss)
    assert len(losses) == 4


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"epochs": 4}, "epochs 3, this training has 4"),
        ({"seed": 1}, "seed 0, this training has 1"),
        ({"recipe": {"lr": 0.2}}, "recipe.lr 0.1, this training has 0.2"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, "of another network"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    make_trainer: Make, keywords: dict[str, Any], words: str
) -> None:
    state = make_trainer(epochs=3).state()
    with pytest.raises(UserError) as caught:
        make_trainer(**{"epochs": 3, **keywords}).load_state(state)
    assert words in str(caught.value)

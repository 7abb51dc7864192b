"""Training: it learns, it stops when it must, it survives odd data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import DataError, UserError
from nas.train import turns
from nas.train.batches import cuts, shared_tensor
from nas.train.epoch import EpochReport
from nas.train.loop import Trainer
from nas.train.turns import Turn

Make = Callable[..., Trainer]
Network = Callable[..., nn.Sequential]


def reports(trainer: Trainer) -> list[EpochReport]:
    return [report for report in trainer.run() if report is not None]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize(
    "recipe",
    [
        {"lr": 0.1},
        {"optimizer": "adamw", "lr": 0.01},
        {"lr": 0.1, "label_smoothing": 0.1, "clip_norm": 1.0, "warmup_epochs": 5},
    ],
)
def test_it_learns_digits_in_a_few_epochs(make_trainer: Make, recipe: dict[str, object]) -> None:
    trainer = make_trainer(recipe={"batch_size": 32, **recipe}, epochs=8)
    curve = reports(trainer)
    assert curve[-1].validation > 0.95
    assert curve[-1].train_loss < curve[0].train_loss
    assert [report.epoch for report in curve] == list(range(1, 9))
    assert [report.steps for report in curve] == [44 * epoch for epoch in range(1, 9)]
    assert all(report.stop is None and report.seconds > 0 for report in curve)
    assert curve[-1].lr < 0.01 * trainer.recipe.lr
    assert curve[-1].best_smoothed == max(report.smoothed for report in curve)
    assert trainer.history == curve


class SideHead(nn.Module):
    """Hands its input on; in training it keeps the logits of a classifier of its own."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight, self.side_logits = weight, None
        self.linear = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.side_logits = self.linear(x) if self.training else None
        return x


def with_side_heads(network: Network, *side_weights: float) -> nn.Sequential:
    model = network()
    torch.manual_seed(1)
    for n, weight in enumerate(side_weights):
        model.insert(8 + n, SideHead(weight))  # behind the flattening
    return model


def test_side_heads_add_their_weighted_loss_while_training(
    make_trainer: Make, network: Network
) -> None:
    recipe = {"lr": 1e-9, "momentum": 0, "label_smoothing": 0.1, "batch_size": 1400}
    model = with_side_heads(network, 0.3, 0.5)
    trainer = make_trainer(model, recipe, epochs=1)
    x, y = trainer._data.take(torch.arange(1400))
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(logits, y, label_smoothing=0.1).item()
            for logits in (model.train()(x), model[8].side_logits, model[9].side_logits)
        ]
    (report,) = reports(trainer)
    assert report.train_loss == pytest.approx(losses[0] + 0.3 * losses[1] + 0.5 * losses[2], 1e-4)
    assert report.ratio == pytest.approx(1.0, abs=1e-3)  # the guard's first loss holds them too
    assert report.validation_loss < 0.7 * report.train_loss  # and evaluation does not
    assert model[8].side_logits is None


def test_side_heads_train_and_resume(make_trainer: Make, network: Network) -> None:
    recipe = {"batch_size": 100, "lr": 0.05}
    plain = make_trainer(network(), recipe, epochs=2)
    whole = make_trainer(with_side_heads(network, 0.3), recipe, epochs=2)
    halves = [make_trainer(with_side_heads(network, 0.3), recipe, epochs=2) for _ in range(2)]
    before = weights(whole)
    running = whole.run()
    next(running)
    half = halves[0].run()
    next(half)
    halves[1].load_state(halves[0].state())
    list(running), list(halves[1].run()), list(plain.run())
    after, again = weights(whole), weights(halves[1])
    assert not torch.equal(before["8.linear.weight"], after["8.linear.weight"])
    assert all(torch.equal(after[key], again[key]) for key in after)
    assert not torch.equal(plain.model[0].weight, whole.model[0].weight)  # reached by its loss


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_learning_rate_of_1e4_is_stopped_within_ten_steps(
    make_trainer: Make, network: Network, norm: bool, optimizer: str
) -> None:
    trainer = make_trainer(
        network(norm=norm), {"lr": 1e4, "batch_size": 16, "optimizer": optimizer}
    )
    (report,) = reports(trainer)
    assert report.stop in ("exploded", "nan")
    assert report.broken
    assert report.steps <= 10
    assert report.epoch == 1
    assert math.isnan(report.validation)
    assert report.ratio is not None
    assert not report.ratio <= 3
    assert trainer.history == []
    assert trainer.state()["history"] == []
    assert reports(trainer) == []


def test_an_explosion_later_on_keeps_the_epochs_before(make_trainer: Make) -> None:
    trainer = make_trainer(recipe={"batch_size": 32}, epochs=5)
    curve = []
    for report in trainer.run():
        assert report is not None
        curve.append(report)
        if report.epoch == 2 and report.stop is None:
            with torch.no_grad():
                trainer.model[-1].weight.mul_(1e6)  # type: ignore[index, union-attr, operator]
    assert [report.stop for report in curve] == [None, None, "exploded"]
    assert curve[-1].epoch == 3
    assert 88 < curve[-1].steps <= 98
    assert curve[-1].smoothed == curve[1].smoothed
    assert trainer.history == curve[:2]


def test_nan_in_the_data_stops_before_or_in_the_first_epoch(
    make_trainer: Make, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits[0].astype(np.float32) / 255, digits[1]
    everywhere = np.full_like(x[:100], np.nan)
    (report,) = reports(make_trainer(train=(everywhere, y[:100])))
    assert (report.stop, report.steps) == ("nan", 0)
    assert math.isnan(report.train_loss)
    one = x[:1400].copy()
    one[700, 0, 3, 3] = np.nan
    (report,) = reports(make_trainer(train=(one, y[:1400]), recipe={"batch_size": 16}))
    assert report.stop == "nan"
    assert report.steps < 88


def test_nan_in_the_validation_alone_is_nan_as_well(
    make_trainer: Make, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits
    bad = x[1400:].astype(np.float32)
    bad[5] = np.nan
    trainer = make_trainer(validation=(bad, y[1400:]))
    (report,) = reports(trainer)
    assert report.stop == "nan"
    assert math.isfinite(report.train_loss)
    assert math.isnan(report.validation)
    assert trainer.history == []


def test_the_first_losses_are_measured_without_a_trace(
    make_trainer: Make, network: Network
) -> None:
    trainer, other = (make_trainer(network(dropout=0.5)) for _ in range(2))
    before = weights(trainer)
    with Turn([torch.device("cpu")], None) as turn:
        assert 1.5 < trainer._initial_loss(turn) < 4
    for key, value in weights(trainer).items():
        assert torch.equal(value, before[key]), key
    other._initial_loss = lambda turn: 2.3  # type: ignore[method-assign]
    first, second = next(iter(trainer.run())), next(iter(other.run()))
    assert first is not None
    assert second is not None
    assert first.train_loss == second.train_loss
    assert first.validation_loss == second.validation_loss


def test_label_smoothing_raises_the_loss_and_leaves_the_validation_loss_plain(
    make_trainer: Make,
) -> None:
    plain = reports(make_trainer(recipe={"batch_size": 32}, epochs=5))[-1]
    smooth = reports(make_trainer(recipe={"batch_size": 32, "label_smoothing": 0.3}, epochs=5))[-1]
    # no logits can have a smoothed loss below the entropy of the smoothed label
    wrong, right = 0.3 / 10, 0.7 + 0.3 / 10
    entropy = -9 * wrong * math.log(wrong) - right * math.log(right)
    assert plain.train_loss < entropy < smooth.train_loss
    assert smooth.validation_loss < smooth.train_loss


def test_clip_norm_bounds_the_step(make_trainer: Make, network: Network) -> None:
    recipe = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}

    def moved(clip: float) -> float:
        model = network()
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        trainer = make_trainer(model, {**recipe, "clip_norm": clip, "batch_size": 2048}, epochs=1)
        assert len(reports(trainer)) == 1
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        return float((after - before).norm())

    assert moved(0.01) == pytest.approx(0.01, rel=1e-3)
    assert moved(0.0) > 0.02


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (10, 5, [5, 5]),
        (13, 5, [5, 5, 3]),
        (11, 5, [5, 5]),
        (3, 128, [3]),
        (2, 2, [2]),
        (3, 2, [2]),
    ],
)
def test_the_last_batch_is_kept_unless_it_is_one_image(
    make_trainer: Make,
    digits: tuple[np.ndarray, np.ndarray],
    count: int,
    batch_size: int,
    sizes: list[int],
) -> None:
    assert [stop - start for start, stop in cuts(count, batch_size)] == sizes
    x, y = digits
    trainer = make_trainer(
        train=(x[:count], y[:count]), recipe={"batch_size": batch_size, "lr": 0.01}, epochs=2
    )
    assert [report.steps for report in reports(trainer)] == [len(sizes), 2 * len(sizes)]


def test_every_image_is_seen_once_an_epoch_in_a_new_order(
    make_trainer: Make, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits
    seen: list[torch.Tensor] = []

    def note(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.append(batch.flatten(1).double().sum(1))
        return batch

    trainer = make_trainer(train=(x[:60], y[:60]), recipe={"batch_size": 7}, epochs=2, augment=note)
    assert len(reports(trainer)) == 2
    # four batches for the initial loss, then 9 an epoch
    assert [len(part) for part in seen[4:]] == ([7] * 8 + [4]) * 2
    first, second = torch.cat(seen[4:13]), torch.cat(seen[13:])
    assert torch.equal(first.sort().values, second.sort().values)
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat(seen[:4]), first[:28])


def test_read_only_arrays_are_shared_without_a_warning_or_a_copy(
    make_trainer: Make, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits[0].copy(), digits[1].copy()
    x.setflags(write=False)
    y.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shared_tensor(x).data_ptr() == x.ctypes.data
        trainer = make_trainer(train=(x[:1400], y[:1400]), epochs=1)
        assert trainer._data.images.data_ptr() == x.ctypes.data
        assert len(reports(trainer)) == 1
    reversed_view = shared_tensor(x[::-1])
    assert torch.equal(reversed_view[0], torch.from_numpy(digits[0])[-1])


def test_float_images_of_any_width_train_as_bytes_do(
    make_trainer: Make, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits
    of_bytes = reports(make_trainer(epochs=2))
    floats = x.astype(np.float64) / 255
    of_floats = reports(
        make_trainer(
            train=(floats[:1400], y[:1400]), validation=(floats[1400:], y[1400:]), epochs=2
        )
    )
    assert of_floats[-1].train_loss == pytest.approx(of_bytes[-1].train_loss, rel=1e-3)


def test_early_stopping_ends_as_stalled_and_never_in_the_last_epoch(
    make_trainer: Make, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    recipe = {"lr": 1e-6, "patience": 2, "smoothing": 0.0}
    curve = reports(trainer := make_trainer(recipe=recipe, epochs=20))
    assert curve[-1].stop == "stalled"
    assert curve[-1].epoch < 20
    assert not curve[-1].broken
    assert trainer.history == curve
    assert reports(trainer) == []
    full = reports(make_trainer(recipe=recipe, epochs=curve[-1].epoch))
    assert full[-1].stop is None
    off = reports(make_trainer(recipe=recipe, epochs=20, early_stopping=False))
    assert len(off) == 20


def test_pauses_come_in_mid_epoch_and_change_nothing(make_trainer: Make, network: Network) -> None:
    recipe = {"batch_size": 16}
    quiet = make_trainer(network(dropout=0.3), recipe, epochs=2)
    straight = reports(quiet)
    trainer = make_trainer(network(dropout=0.3), recipe, epochs=2)
    pauses, curve = 0, []
    for report in trainer.run(pause_every=0.0):
        torch.manual_seed(pauses)  # the caller's own use of the global generator
        torch.rand(3)
        if report is None:
            pauses += 1
            with pytest.raises(RuntimeError, match="middle of an epoch"):
                trainer.state()
        else:
            curve.append(report)
    assert pauses >= 2 * 88
    for one, other in zip(straight, curve, strict=True):
        assert (one.train_loss, one.validation_loss) == (other.train_loss, other.validation_loss)
    for key, value in quiet.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[key])


def test_the_callers_random_numbers_are_left_alone(make_trainer: Make, network: Network) -> None:
    trainer = make_trainer(network(dropout=0.3), epochs=2)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    assert len(reports(trainer)) == 2
    assert torch.equal(torch.rand(3), wanted)


def test_the_callers_time_in_a_pause_is_not_charged(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(turns, "time", SimpleNamespace(perf_counter=lambda: now))
    seconds = []
    for report in make_trainer(epochs=2).run(pause_every=0.0):
        now += 1000.0
        if report is not None:
            seconds.append(report.seconds)
    assert seconds == [0.0, 0.0]


def test_a_dropped_epoch_cannot_be_gone_on_with(make_trainer: Make) -> None:
    trainer = make_trainer(recipe={"batch_size": 16}, epochs=2)
    saved = trainer.state()
    running = trainer.run(pause_every=0.0)
    assert next(iter(running)) is None
    del running
    with pytest.raises(RuntimeError, match="load_state"):
        next(iter(trainer.run()))
    trainer.load_state(saved)
    assert trainer.state()["steps"] == 0


def test_what_cannot_be_trained_is_refused(
    make_trainer: Make, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits
    with pytest.raises(DataError, match="one image"):
        make_trainer(train=(x[:1], y[:1]))
    with pytest.raises(DataError, match="N at least 1"):
        make_trainer(validation=(x[:0], y[:0]))
    with pytest.raises(UserError, match="0 epochs"):
        make_trainer(epochs=0)


@pytest.mark.gpu
def test_on_a_gpu_it_learns_and_an_explosion_is_seen_behind_the_steps(make_trainer: Make) -> None:
    recipe = {"batch_size": 32}
    assert reports(make_trainer(recipe=recipe, epochs=8, device="cuda"))[-1].validation > 0.95
    (report,) = reports(make_trainer(recipe={**recipe, "lr": 1e4}, device="cuda"))
    assert report.broken
    assert report.steps <= 10

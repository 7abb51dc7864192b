"""A batch that is split over several devices: here the CPU twice, each in its own copy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nas.train.loop import Trainer
from nas.train.split import Split

from .test_train_loop import SideHead, reports, weights, with_side_heads

Make = Callable[..., Trainer]
Network = Callable[..., nn.Sequential]
TWO = [torch.device("cpu")]
RECIPE = {"lr": 0.05, "batch_size": 100}


def test_a_training_without_batch_norm_is_the_same_but_for_rounding(
    make_trainer: Make, network: Network
) -> None:
    curves = []
    for others in ([], ["cpu"], ["cpu"] * 3):
        trainer = make_trainer(network(norm=False), RECIPE, epochs=2, others=others)
        curves.append([(r.train_loss, r.validation) for r in reports(trainer)])
    for curve in curves[1:]:
        for one, other in zip(curves[0], curve, strict=True):
            assert other == pytest.approx(one, rel=1e-3, abs=5e-3)


def test_with_batch_norm_it_learns_and_its_weights_are_one_network_s(
    make_trainer: Make, network: Network
) -> None:
    recipe = {"lr": 0.1, "batch_size": 32}
    split = make_trainer(network(dropout=0.1), recipe, epochs=6, others=["cpu"])
    assert reports(split)[-1].validation > 0.9
    alone = make_trainer(network(dropout=0.1), recipe, epochs=6)
    assert weights(split).keys() == weights(alone).keys()
    assert split.state()["model"]["1.num_batches_tracked"] == split.steps, "each batch once"


def test_a_checkpoint_goes_on_bit_by_bit(make_trainer: Make, network: Network) -> None:
    make = lambda: make_trainer(network(dropout=0.3), RECIPE, epochs=3, others=["cpu"])  # noqa: E731
    whole, begun, again = make(), make(), make()
    curve = reports(whole)
    running = begun.run()
    next(running)
    again.load_state(begun.state())
    assert [r.train_loss for r in reports(again)] == [r.train_loss for r in curve[1:]]
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())


def test_gradients_of_all_parts_add_up_and_averages_are_of_the_first(network: Network) -> None:
    x = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    alone, model = network(norm=False), network(norm=False)
    for forward in (alone, Split(model, TWO)):
        forward(x).square().sum().backward()
    for one, other in zip(alone.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)

    alone, model = network(), network()
    alone(x[:4]), Split(model, TWO)(x)
    torch.testing.assert_close(alone[1].running_mean, model[1].running_mean)


@pytest.mark.parametrize(("images", "parts"), [(1, 1), (3, 1), (4, 2), (5, 2), (6, 3), (9, 3)])
def test_no_part_is_too_small_for_batch_norm(images: int, parts: int) -> None:
    seen: list[int] = []

    class Watch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return x.flatten(1)

    x = torch.randn(images, 1, 2, 2)
    assert torch.equal(Split(Watch(), TWO * 2)(x), x.flatten(1)), "in their order"
    assert len(seen) == parts and sum(seen) == images
    assert parts == 1 or min(seen) >= 2


def test_side_heads_have_the_logits_of_all_parts(network: Network) -> None:
    model = with_side_heads(network, 0.3, 0.5)
    alone = with_side_heads(network, 0.3, 0.5)
    for each in (model, alone):
        each[1] = each[4] = nn.Identity()
    x = torch.randn(6, 1, 8, 8)
    split = Split(model, TWO)
    torch.testing.assert_close(split(x), alone(x))
    for one, other in zip(model.modules(), alone.modules(), strict=True):
        if isinstance(one, SideHead):
            torch.testing.assert_close(one.side_logits, other.side_logits)
    split.eval()
    split(x)
    assert not [m for m in model.modules() if getattr(m, "side_logits", None) is not None]


def test_weights_that_are_shared_stay_shared() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)
            self.two = nn.Linear(4, 4)
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(x))

    torch.manual_seed(0)
    model, x = Tied(), torch.randn(6, 4)
    expected = model(x)
    expected.sum().backward()
    grad = model.one.weight.grad.clone()
    model.zero_grad()
    found = Split(model, TWO)(x)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    torch.testing.assert_close(model.one.weight.grad, grad)

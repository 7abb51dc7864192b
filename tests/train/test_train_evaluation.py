"""Evaluation and prediction against numpy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import DataError
from nas.train.evaluation import evaluate, predict


class Fixed(nn.Module):
    """Gives out the logits it was made with, image by image."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits[x[:, 0, 0, 0].round().long()]


def numbered(count: int) -> np.ndarray:
    """Float images that hold their own number."""
    return np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((1, 1, 2, 2), "f4")


PLAIN = {"mean": (0.0,), "std": (1.0,)}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_by_hand(batch_size: int) -> None:
    model = Fixed([[2.0, 0, 0], [0, 3.0, 0], [5.0, 0, 0], [1.0, 0, 0]])
    result = evaluate(model, numbered(4), np.array([0, 1, 1, 0]), batch_size=batch_size, **PLAIN)
    assert result.n == 4
    assert result.accuracy == 0.75
    assert result.per_class[:2] == (1.0, 0.5)
    assert math.isnan(result.per_class[2])
    assert result.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    wanted = [
        math.log(math.e**2 + 2) - 2,
        math.log(math.e**3 + 2) - 3,
        math.log(math.e**5 + 2),
        math.log(math.e + 2) - 1,
    ]
    assert result.loss == pytest.approx(np.mean(wanted))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_logits_make_the_loss_nan_and_leave_the_accuracy(bad: float) -> None:
    model = Fixed([[2.0, 0.0], [0.0, 3.0], [1.0, bad]])
    result = evaluate(model, numbered(3), np.array([0, 1, 0]), **PLAIN)
    assert math.isnan(result.loss)
    assert result.accuracy == (1.0 if bad == -math.inf else pytest.approx(2 / 3))


def test_bytes_are_scaled_to_one_and_floats_are_not(
    digits: tuple[np.ndarray, np.ndarray], network: Callable[..., nn.Module]
) -> None:
    x, _ = digits
    model, keywords = network(), {"mean": (0.3,), "std": (0.4,)}
    of_bytes = predict(model, x[:50], **keywords)
    of_floats = predict(model, x[:50].astype(np.float64) / 255, **keywords)
    with torch.no_grad():
        given = torch.from_numpy((x[:50].astype(np.float32) / 255 - 0.3) / 0.4)
        by_hand = model.eval()(given).softmax(1).numpy()
    np.testing.assert_allclose(of_bytes, by_hand, atol=1e-5)
    np.testing.assert_allclose(of_floats, by_hand, atol=1e-5)


def test_probabilities_sum_to_one_whatever_the_batches(
    digits: tuple[np.ndarray, np.ndarray], network: Callable[..., nn.Module]
) -> None:
    x, y = digits
    keywords = {"mean": (0.3,), "std": (0.4,)}
    whole = predict(network(), x[:100], **keywords)
    parts = predict(network(), x[:100], batch_size=7, **keywords)
    assert whole.shape == (100, 10)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    result = evaluate(network(), x[:100], y[:100], **keywords)
    assert result.accuracy == (whole.argmax(axis=1) == y[:100]).mean()


@pytest.mark.parametrize("training", [True, False])
def test_the_model_comes_back_in_the_mode_it_was_in(
    training: bool, digits: tuple[np.ndarray, np.ndarray], network: Callable[..., nn.Module]
) -> None:
    x, y = digits
    model = network().train(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, x, y, mean=(0.3,), std=(0.4,))
    assert model.training is training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_constant_channel_does_not_divide_by_its_spread_of_0() -> None:
    result = predict(Fixed([[1.0, 0.0]]), np.zeros((3, 1, 2, 2), np.uint8), mean=(0.0,), std=(0.0,))
    assert np.isfinite(result).all()


@pytest.mark.parametrize(
    ("x", "y", "mean", "words"),
    [
        (np.zeros((0, 1, 2, 2), "f4"), np.zeros(0, int), (0.0,), "N at least 1"),
        (np.zeros((3, 2, 2), "f4"), np.zeros(3, int), (0.0,), "(N, C, H, W)"),
        (np.zeros((3, 1, 2, 2), "f4"), np.zeros(2, int), (0.0,), "3 images, but 2 labels"),
        (np.zeros((3, 3, 2, 2), "f4"), np.zeros(3, int), (0.0,), "1 means"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    x: np.ndarray, y: np.ndarray, mean: tuple[float, ...], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        evaluate(Fixed([[0.0]]), x, y, mean=mean, std=mean)
    assert words in str(caught.value)

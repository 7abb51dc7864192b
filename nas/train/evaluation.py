"""How well a network does on images it was not trained on."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .batches import Array, Batches

BATCH_SIZE = 256


@dataclass(frozen=True)
class Evaluation:
    """Over n images. Accuracies are fractions.

    loss       mean cross-entropy; NaN where any logit is not finite
    accuracy   by argmax, also of logits that are not finite (NaN counts as the largest)
    per_class  the accuracy on each class's images; NaN for a class without one
    confusion  (classes, classes): how many images of class [row] were called [column]
    """

    loss: float
    accuracy: float
    per_class: tuple[float, ...]
    confusion: np.ndarray
    n: int


def evaluate(
    model: nn.Module,
    x: Array,
    y: Array,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    device: str | torch.device = "cpu",
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Evaluate `model` (moved to `device`) on images x (N, C, H, W) with labels y (N,).

    Raises DataError where there is no image or x, y, mean and std do not fit each other.
    """
    place = torch.device(device)
    data = Batches(x, y, mean=mean, std=std, device=place)
    measuring = measure(model.to(place), data, batch_size)
    while True:
        try:
            next(measuring)
        except StopIteration as end:
            result: Evaluation = end.value
            return result


def predict(
    model: nn.Module,
    x: Array,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    device: str | torch.device = "cpu",
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Probabilities (N, classes) float32 of images x (N, C, H, W). Raises DataError as above."""
    place = torch.device(device)
    data = Batches(x, None, mean=mean, std=std, device=place)
    model.to(place)
    with evaluating(model):
        parts = [
            functional.softmax(logits, dim=1) for logits in _all_logits(model, data, batch_size)
        ]
    return torch.cat(parts).cpu().numpy()


def measure(
    model: nn.Module, data: Batches, batch_size: int = BATCH_SIZE
) -> Generator[None, None, Evaluation]:
    """Evaluate in turns: yields after each batch, returns the Evaluation; one sync at its end."""
    assert data.labels is not None
    sums, calls, start, classes = [], [], 0, 0
    with evaluating(model):
        for logits in _all_logits(model, data, batch_size):
            labels = data.labels[start : start + len(logits)]
            sums.append(_loss_sum(logits, labels))
            calls.append(logits.argmax(dim=1))
            start, classes = start + len(logits), logits.shape[1]
            yield
    loss = torch.stack(sums).cpu().double().sum().item() / len(data)
    return _tally(loss, data.labels.cpu().numpy(), torch.cat(calls).cpu().numpy(), classes)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _all_logits(model: nn.Module, data: Batches, batch_size: int) -> Iterator[Tensor]:
    for start in range(0, len(data), batch_size):
        # entered anew for each batch: the mode of a suspended generator would be its caller's too
        with torch.no_grad():
            logits = model(data.slice(start, start + batch_size))  # (n, classes)
        yield logits


def _loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
    total = functional.cross_entropy(logits, labels, reduction="sum")
    return torch.where(torch.isfinite(logits).all(), total, torch.nan)


def _tally(loss: float, labels: np.ndarray, calls: np.ndarray, classes: int) -> Evaluation:
    confusion = np.bincount(labels * classes + calls, minlength=classes * classes)
    confusion = confusion.reshape(classes, classes)
    hits, members = confusion.diagonal(), confusion.sum(axis=1)
    per_class = tuple(
        float(hit) / int(count) if count else float("nan")
        for hit, count in zip(hits, members, strict=True)
    )
    return Evaluation(loss, float(hits.sum()) / len(labels), per_class, confusion, len(labels))

"""The recipe: how a network is trained. Every key has a default, every key may be a hole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..registry import RECIPE, Setting

SETTINGS: dict[str, Setting] = {
    "optimizer": Setting(
        ("str",),
        "sgd",
        allowed=("sgd", "adamw"),
        about="sgd with momentum, or adamw (Loshchilov & Hutter 2019)",
    ),
    "lr": Setting(
        ("float",),
        0.1,
        above=0,
        high=1e6,
        about="peak learning rate; 0.1 suits sgd, adamw wants about 0.001",
    ),
    "momentum": Setting(
        ("float",), 0.9, low=0, high=0.999, about="of sgd; the first beta of adamw"
    ),
    "nesterov": Setting(
        ("bool",), True, about="Nesterov's momentum; means nothing to adamw or with momentum 0"
    ),
    "weight_decay": Setting(
        ("float",),
        5e-4,
        low=0,
        high=10,
        about="of the weights of convolutions and linear layers; biases and norms are left alone",
    ),
    "batch_size": Setting(
        ("int",), 128, low=2, high=65536, about="images a step; batch norm needs two"
    ),
    "epochs": Setting(
        ("int",), 30, low=1, high=100_000, about="of the final training; stages take a share of it"
    ),
    "schedule": Setting(
        ("str",),
        "cosine",
        allowed=("cosine", "step", "constant"),
        about="cosine to 0, a tenth at 50 % and again at 75 % of the steps, or no change",
    ),
    "warmup_epochs": Setting(
        ("float",),
        0.0,
        low=0,
        high=100_000,
        about="linear rise to lr, counted in `epochs`; a shorter stage warms up by the same share",
    ),
    "label_smoothing": Setting(
        ("float",), 0.0, low=0, high=0.9, about="share of the label spread over all classes"
    ),
    "dropout": Setting(
        ("float",), 0.0, low=0, high=0.95, about="share of values dropped before the classifier"
    ),
    "augment": Setting(
        ("str",),
        "none",
        allowed=("none", "flip_crop"),
        about="flip_crop: mirrored at random, padded and cut at random",
    ),
    "clip_norm": Setting(
        ("float",), 0.0, low=0, high=1e6, about="upper bound on the gradient's norm; 0: off"
    ),
    "patience": Setting(
        ("int",),
        10,
        low=0,
        high=100_000,
        about="epochs without a better smoothed validation accuracy before a stop; 0: off",
    ),
    "smoothing": Setting(
        ("float",),
        0.5,
        low=0,
        high=0.99,
        about="factor of the exponential mean of the validation accuracy; 0: unsmoothed",
    ),
}

for _key, _setting in SETTINGS.items():
    RECIPE.add(_key, _setting)


def _default(key: str) -> Any:
    return SETTINGS[key].default


@dataclass(frozen=True)
class Recipe:
    """A filled recipe. Meaning, bounds and defaults of each key: `SETTINGS`."""

    optimizer: str = _default("optimizer")
    lr: float = _default("lr")
    momentum: float = _default("momentum")
    nesterov: bool = _default("nesterov")
    weight_decay: float = _default("weight_decay")
    batch_size: int = _default("batch_size")
    epochs: int = _default("epochs")
    schedule: str = _default("schedule")
    warmup_epochs: float = _default("warmup_epochs")
    label_smoothing: float = _default("label_smoothing")
    dropout: float = _default("dropout")
    augment: str = _default("augment")
    clip_norm: float = _default("clip_norm")
    patience: int = _default("patience")
    smoothing: float = _default("smoothing")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], where: str = "") -> Recipe:
        """A Recipe of what a file says; keys it leaves out take their defaults.

        `where` (file:line) goes in front of an error. Raises UnknownName for an unknown key,
        with the nearest one, and UserError for a value that is not allowed.
        """
        prefix = f"{where}: " if where else ""
        values: dict[str, Any] = {}
        for key, value in mapping.items():
            setting = RECIPE.get(key, where)
            fault = setting.fault(value)
            if fault:
                raise UserError(f"{prefix}recipe.{key}: {value!r} {fault}")
            values[key] = float(value) if "float" in setting.kinds else value  # type: ignore[arg-type]
        return cls(**values)

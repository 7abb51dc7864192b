"""Neural architecture search and hyperparameter tuning for image networks.

    import nas

    run = nas.search("resnet_cells", data="digits", budget="3min")
    model = nas.load_model(run.best.file)
    model.predict("picture.png")

Names load when they are first used: importing `nas` imports neither torch nor ray nor optuna.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import weights
    from .api import (
        Architecture,
        Model,
        Network,
        Prediction,
        Run,
        Space,
        Training,
        build,
        fill,
        load,
        load_model,
        open_run,
        predict,
        search,
        train,
    )
    from .errors import NasError, SearchFailed, UserError

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Model",
    "NasError",
    "Network",
    "Prediction",
    "Run",
    "SearchFailed",
    "Space",
    "Training",
    "UserError",
    "build",
    "fill",
    "load",
    "load_model",
    "open_run",
    "predict",
    "search",
    "train",
    "weights",
]

_HOMES = {
    ".errors": ("NasError", "SearchFailed", "UserError"),
    ".space": ("Architecture", "Space", "fill", "load"),
    ".models": ("build",),
    ".export": ("Model", "Prediction", "load_model", "predict"),
    ".api": ("Network", "Run", "Training", "open_run", "search", "train"),
}
_PACKAGES = ("weights",)
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _function(name: str) -> property:
    """The function of `nas.api`, though a package of ours has the same name.

    Importing that package binds it to this module, which the setter leaves be; `from nas.search
    import …` finds it all the same.
    """
    return property(lambda _: __getattr__(name), lambda *_: None)


class _Package(ModuleType):
    pass


for _name in ("search", "train"):
    setattr(_Package, _name, _function(_name))
sys.modules[__name__].__class__ = _Package

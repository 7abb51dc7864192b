"""One line registers an operator: `@operator("conv")` above its nn.Module.

The class is written for any PyTorch user. The builder knows three things by itself and passes
those that `__init__` names; every other parameter is a setting of the row, its type and default
read from the annotation (see `settings.py`; plain `int`, `float`, `bool` and `Literal` work too).
A static `cost(tally, **settings)` below `forward` prices it by arithmetic; without one it is
measured (see `measured.py`). A plug-in's `cost` is held against its module, shape and parameters.

    in_channels  channels of the row's input
    size         (height, width) of the row's input
    activated    whether the row's input has just been through an activation
    previous     (channels, height, width) of the output before the row's input, None where there
                 is none; `forward` takes that output (else its input again) as its second argument
                 (class attribute `looks_back = True`; see `composites.Chain`)
    depth        how far down the network this unit stands, among those with a `drop_path`: (0, 1]
    out_channels channels of the row's output, by its `cost`
    classes      how many the data have; `cost` gets it too

A parameter of such a name that has an annotation of `settings.py` is a setting all the same
(`size` of `adaptive_pool`).

A side head (class attribute `aside = True`) returns its input; what follows reads past it. Its
setting `of` may name an earlier row of the network, whose output it then gets in place of its own
input. It keeps `side_logits` while training (None otherwise) and a `weight`, for the training loop.

A composite (`rows`, `branches`) is a row that holds rows: its `cost` gets `take`, which walks
such a list, and returns the settings with modules in the place of the lists.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from torch import nn

from ..registry import REQUIRED, SIGNATURES, Registry, Setting, Signature
from .measured import checked_cost, guarded_cost, measured_cost
from .settings import Channels

KNOWN_BY_BUILDER = (
    "in_channels", "out_channels", "size", "activated", "previous", "depth", "classes",
)  # fmt: skip
COMPOSITE = ("rows", "branches")
PLAIN = {int: Setting(("int",)), float: Setting(("float",)), bool: Setting(("bool",))}


@dataclass(frozen=True)
class Wrapping:
    """What some operators get beside what they are: see `gated.py`.

    settings, context  added to the operator's own
    cost, make         of the operator's cost and module
    """

    settings: dict[str, Setting]
    context: tuple[str, ...]
    cost: Callable[[Callable[..., Any]], Callable[..., Any]]
    make: Callable[[type[nn.Module]], Callable[..., nn.Module]]


@dataclass(frozen=True)
class Operator:
    """A registered operator, taken apart once so that building and pricing need no reflection.

    defaults  every setting with its default, REQUIRED where it has none
    context   which of KNOWN_BY_BUILDER its `__init__` takes
    make      builds the module, of the context and the settings
    cost      `cost(tally, **settings)` moves the tally over one application of the operator
    composite whether it holds rows
    aside     whether it is a side head
    """

    name: str
    module: type[nn.Module]
    make: Callable[..., nn.Module]
    cost: Callable[..., Any]
    defaults: dict[str, Any]
    context: tuple[str, ...]
    composite: bool
    aside: bool


OPERATORS: Registry[Operator] = Registry("operator", home="nas.models")
M = TypeVar("M", bound=type[nn.Module])


def operator(name: str, wrapping: Wrapping | None = None) -> Callable[[M], M]:
    """Register the nn.Module below under `name`, and its Signature with it."""

    def register(module: M) -> M:
        parameters = inspect.signature(module).parameters
        hints = get_type_hints(module.__init__, include_extras=True)
        settings = {
            key: _setting(module, key, hints.get(key), parameter.default)
            for key, parameter in parameters.items()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            and (key not in KNOWN_BY_BUILDER or get_origin(hints.get(key)) is Annotated)
        }
        defaults = {key: setting.default for key, setting in settings.items()}
        context = tuple(
            key for key in KNOWN_BY_BUILDER if key in parameters and key not in settings
        )
        if "classes" in context:  # a setting to `cost` and `__init__`, filled in by `table`
            context = tuple(key for key in context if key != "classes")
            defaults["classes"] = REQUIRED
        composite = any(key in settings for key in COMPOSITE)
        aside = getattr(module, "aside", False)
        cost: Callable[..., Any] = getattr(module, "cost", None) or measured_cost(module, context)
        if hasattr(module, "cost") and not module.__module__.startswith("nas.models"):
            # what its cost alone knows, cannot be measured
            measurable = "out_channels" not in context and not (composite or aside)
            cost = checked_cost(cost, module, context) if measurable else guarded_cost(cost)
        make: Callable[..., nn.Module] = module
        if wrapping is not None:
            settings |= wrapping.settings
            defaults |= {key: setting.default for key, setting in wrapping.settings.items()}
            context = tuple(dict.fromkeys((*context, *wrapping.context)))
            cost, make = wrapping.cost(cost), wrapping.make(module)
        made = Operator(name, module, make, cost, defaults, context, composite, aside)
        OPERATORS.add(name, made)
        about = (inspect.getdoc(module) or "").split("\n")[0]
        SIGNATURES.add(name, Signature(name, settings, about))
        return module

    return register


def setting_of(hint: Any, default: object) -> Setting:
    """The Setting that an annotation of `settings.py` carries."""
    (found,) = (extra for extra in get_args(hint)[1:] if isinstance(extra, Setting))
    return replace(found, default=default)


def _setting(module: type, key: str, hint: Any, default: object) -> Setting:
    if default is inspect.Parameter.empty:
        default = REQUIRED
    if get_origin(hint) is Annotated and any(isinstance(e, Setting) for e in get_args(hint)):
        return setting_of(hint, default)
    if get_origin(hint) is Literal:
        return Setting(("str",), default, allowed=get_args(hint))
    if key == "channels" and hint is int:
        return setting_of(Channels, default)
    if hint in PLAIN:
        return replace(PLAIN[hint], default=default)
    if hint is None:
        example = f"{key}: {type(default).__name__}" if type(default) in PLAIN else f"{key}: int"
        raise TypeError(
            f"{module.__name__}.{key} has no annotation: a setting states what it takes, such as "
            f"{example}; int, float, bool, Literal of words, or one of nas/models/settings.py"
        )
    raise TypeError(
        f"{module.__name__}.{key} is annotated {hint!r}: an operator's settings are int, float, "
        "bool, Literal of words, or an annotation of nas/models/settings.py"
    )

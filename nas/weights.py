"""Public weights onto our networks: a state dict of torchvision or timm, by order and shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike

import torch
from torch import Tensor, nn

from .errors import UserError

COUNTER = "num_batches_tracked"  # of a batch norm: not a weight, and absent from older files


def from_state_dict(model: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, str]:
    """Copy a public state dict into `model`, the n-th entry into the n-th; returns ours -> theirs.

    Names do not count, since every library has its own; order and shapes do, and the documented
    networks keep to the order of torchvision's and timm's definitions. A linear layer's (O, I) and
    a 1x1 convolution's (O, I, 1, 1) are one shape. Raises UserError, which names the first pair
    that differs, before anything is copied.
    """
    _check_kinds(model, state_dict)
    theirs = [(str(name), _tensor(str(name), value)) for name, value in state_dict.items()]
    theirs = [(name, value) for name, value in theirs if not name.endswith(COUNTER)]
    own = [(name, v) for name, v in model.state_dict().items() if not name.endswith(COUNTER)]
    for number, ((mine, to), (name, value)) in enumerate(zip(own, theirs, strict=False), 1):
        if _bare(to) != _bare(value):
            raise UserError(
                f"entry {number}: {name!r} of the state dict is {_text(value)}, where the "
                f"network's {mine!r} is {_text(to)}; it is of another network, or of another order"
            )
    if len(own) != len(theirs):
        longer, where = (own, "network") if len(own) > len(theirs) else (theirs, "state dict")
        first = min(len(own), len(theirs))
        raise UserError(
            f"the network has {len(own)} weights and statistics, the state dict {len(theirs)}: "
            f"the first without a partner is {longer[first][0]!r} of the {where}"
        )
    with torch.no_grad():
        for (_, to), (_, value) in zip(own, theirs, strict=True):
            to.copy_(value.reshape(to.shape))
    return {mine: name for (mine, _), (name, _) in zip(own, theirs, strict=True)}


def _check_kinds(model: object, state_dict: object) -> None:
    """What the two arguments are. Raises UserError."""
    if not isinstance(model, nn.Module):
        raise UserError(
            f"the first argument is the network to copy into, such as nas.build makes; this is of "
            f"type {type(model).__name__}"
        )
    for name, value in model.state_dict().items():
        if value.is_meta:
            raise UserError(
                f"the network's {name!r} is on the meta device, where nothing can be copied to: "
                "build the network on a real one, or call its to_empty(device='cpu') first"
            )
    if not isinstance(state_dict, Mapping):
        what = f"this is of type {type(state_dict).__name__}"
        if isinstance(state_dict, nn.Module):
            what += ": pass its state_dict()"
        elif isinstance(state_dict, str | PathLike):
            what += ": pass torch.load(path, map_location='cpu')"
        raise UserError(f"a state dict maps names to tensors; {what}")


def _tensor(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise UserError(
            f"{name!r} of the state dict is of type {type(value).__name__}, not a tensor: pass the "
            "mapping of names to tensors itself, such as checkpoint['state_dict']"
        )
    kind = next((kind for kind, is_so in _UNFIT.items() if is_so(value)), None)
    if kind is not None:
        raise UserError(
            f"{name!r} of the state dict is {kind}: weights are dense tensors of real numbers"
        )
    return value


_UNFIT: dict[str, Callable[[Tensor], bool]] = {
    "on the meta device, where it has no values": lambda value: value.is_meta,
    "sparse": lambda value: value.layout != torch.strided,
    "of complex numbers": lambda value: value.is_complex(),
}


def _bare(value: Tensor) -> tuple[int, ...]:
    """The shape without ones at its end."""
    shape = list(value.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _text(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single value"
